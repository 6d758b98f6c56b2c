"""The files that `transcribe` is given, one by one, in folders or on standard input, and where their results go."""

import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..audio import ENDINGS, view
from ..data import shown
from ..errors import InputError

STDIN = "-"


@dataclass(frozen=True)
class Media:
    """One audio or video file."""

    name: str  # as messages show it
    source: str | bytes  # a path, or what standard input held
    stem: Path  # its results' path in the output folder, without an ending


def media_files(arguments: Sequence[str]) -> tuple[list[Media], list[str]]:
    """The files that a command line names, and why others of them cannot be read."""
    found: list[Media] = []
    failures: list[str] = []
    for argument in arguments:
        if argument == STDIN:
            found.append(Media("standard input", sys.stdin.buffer.read(), Path("stdin")))
        elif os.path.isdir(argument):
            inside = [file for file in sorted(Path(argument).rglob("*")) if file.suffix.lower() in ENDINGS]
            inside = [file for file in inside if file.is_file()]
            found += [Media(shown(str(file)), str(file), file.relative_to(argument).with_suffix("")) for file in inside]
            if not inside:
                failures.append(f"{shown(argument)}: is a folder without audio or video files; name files in others.")
        elif failure := unreadable(argument):
            failures.append(failure)
        else:
            found.append(Media(shown(argument), argument, Path(Path(argument).stem)))
    return found, failures


def unreadable(file: str) -> str | None:
    """Why a file cannot be opened, found before any work."""
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        return f"{shown(file)}: there is no such file."
    except (OSError, ValueError) as error:
        return f"{shown(file)}: cannot be opened ({getattr(error, 'strerror', None) or error})."
    if not stat.S_ISREG(mode):
        return f"{shown(file)}: is a pipe or a device; expected a file, or - for standard input."
    try:
        view(file, shown(file)).close_file()
    except InputError as error:  # a playlist, or a file that may not be read
        return str(error)
    return None


def targets(files: Sequence[Media], folder: Path, formats: Sequence[str]) -> dict[Path, Media]:
    """Each result's path and the file that it is of. Raises InputError where two files would share one."""
    found: dict[Path, Media] = {}
    for file in files:
        for ending in formats:
            target = folder / f"{file.stem}.{ending}"
            if target in found:
                raise InputError(
                    f"{shown(str(target))}: would be written for several files of that name; transcribe them apart."
                )
            found[target] = file
    return found


def make_folder(folder: Path) -> None:
    """The output folder. Raises InputError where it cannot be written to, not only after an hour of decoding."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"--output {folder}: cannot be written to ({error.strerror}).") from error


def is_there(target: Path) -> bool:
    """Raises OSError for a name that the folder cannot hold: too long, or of bytes that it does not take."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return True
    target.unlink()
    return False
