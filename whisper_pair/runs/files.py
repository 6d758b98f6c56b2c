"""Files written completely or not at all, and what a disk says when it fails.

A file is written under another name in its folder, brought past the system's buffers and renamed: whoever reads it
finds the old one or the new one, never a part. A disk may fail at any write of anyone, libraries in C and Rust
included, and each of them reports it in its own way; `disk_failure` knows their words.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..escaping import terminal

ENDING = ".partial"


ROOM = "make room and go on"


WHY = {  # errno -> what a disk does, and the fix
    errno.ENOSPC: ("the disk is full", ROOM),
    errno.EDQUOT: ("the quota of this user is used up", ROOM),
    errno.EFBIG: ("no file may be that large", "raise the limit (ulimit -f) and go on"),
    errno.EROFS: ("the disk can only be read", "make it writable, or choose another place"),
    errno.EACCES: ("this user has no permission", "give it, or choose another place"),
    errno.EPERM: ("this user has no permission", "give it, or choose another place"),
    errno.EIO: ("the disk failed", "see to the disk and go on"),
    errno.ESTALE: ("the network disk is gone", "see to the disk and go on"),
    errno.ENODEV: ("the disk is gone, or takes no memory maps", "see to the disk, or choose another"),
    errno.ENXIO: ("the device is gone", "see to it and go on"),
    errno.ENAMETOOLONG: ("the disk takes no name that long", "choose a shorter one"),
    errno.ELOOP: ("a link leads to itself", "remove it"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n) and go on"),
    errno.ENFILE: ("too many files are open", "close some and go on"),
}


# [Errno 28] of Python and Arrow, (os error 28) of Rust
NUMBERS = re.compile(r"(?:\[Errno |\[errno |os error )(\d+)")


WORDS = {  # of those who keep the number to themselves
    re.compile(r"PytorchStreamWriter failed|unexpected pos \d+ vs \d+"): ("the disk is full or failed", ROOM),
    re.compile(r"out of shared memory|is killed by signal: Bus error"): (
        "shared memory (/dev/shm) is full", "give it more room, or set data.workers: 0"),
    re.compile(r"No usable temporary directory"): ("no folder takes temporary files", "set TMPDIR to one that does"),
}  # fmt: skip


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes the place of `path` in the end; where writing fails, nothing changes.

    Links are not followed: one at `path` is replaced, one at the name that is written first is removed.
    Raises OSError with the name of `path`.
    """
    aside = path.with_name(_aside(path.name))
    try:
        aside.unlink(missing_ok=True)  # what a killed process left, or a link
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with open(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # a disk may refuse only now
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        if error.filename in (None, str(aside), aside):
            error.filename = str(path)
        raise


def _aside(name: str) -> str:
    """File systems take names of 255 bytes; one that is too long with its ending is replaced by its digest."""
    fits = len(os.fsencode(name)) <= 255 - len(ENDING)
    return (name if fits else hashlib.sha256(os.fsencode(name)).hexdigest()) + ENDING


def write_text(path: Path, text: str) -> None:
    """Written completely or not at all, in UTF-8."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))  # lone surrogates: a JSON escape as well


def write_table(path: Path, table) -> None:
    """A pyarrow table as Parquet, completely or not at all."""
    import pyarrow.parquet

    with whole_file(path) as file:
        pyarrow.parquet.write_table(table, file)


def readable_to_others(folder: Path) -> None:
    """Gives each file in `folder` the mode that the umask asks for: some libraries make theirs for the owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o666 & ~umask)


def disk_failure(error: BaseException) -> str | None:
    """What the disk refused and the fix, in a sentence; None where the error is of another kind."""
    text = str(error)
    found = next((known for words, known in WORDS.items() if words.search(text)), None)
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (named := NUMBERS.search(text)):
        number = int(named[1])
    if found is None and number is not None:
        found = WHY.get(number)
    if found is None:
        return None
    what, fix = found
    where = getattr(error, "filename", None)
    at = f" at {os.fsdecode(where)}" if isinstance(where, str | bytes | Path) else ""
    return terminal(f"{what}{at}; what was saved stays valid, {fix}.")


def as_json(value: Any) -> Any:
    """Through JSON and back, so that what is compared is what was stored."""
    return json.loads(json.dumps(value))


def write_json(path: Path, value: Any) -> None:
    """Written completely or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
