"""Names of files as users and corpora write them, and the rule that keeps a corpus's paths inside its folder."""

from pathlib import Path

from ..audio import holds_sound
from ..errors import InputError


def shown(name: str) -> str:
    """A name that can be printed and stored, whatever bytes the file system has in it."""
    return name.encode("utf-8", "backslashreplace").decode()


def local(name: str) -> Path:
    """A path as a user writes it; `~` is the home folder."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~nobody
        return Path(name)


def resolved(folder: Path, name: str) -> tuple[Path, bool]:
    """Where `name` leads from `folder` with links followed, and whether a file is there."""
    try:
        path = (folder / local(name)).resolve()
        if not path.exists() and name != name.strip():  # a space after a comma
            path = (folder / name.strip()).resolve()
        return path, path.is_file()
    except (ValueError, OSError, RuntimeError):  # a zero byte, a name that is too long, a link to itself
        return folder, False


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a resolved path is in a resolved folder.

    In the Hub's cache the files of a snapshot are links to its blobs, which count as inside:
    datasets--ORG--NAME/snapshots/COMMIT/a.wav -> datasets--ORG--NAME/blobs/SHA.
    """
    if path.is_relative_to(folder):
        return True
    snapshots = next((parent for parent in (folder, *folder.parents) if parent.name == "snapshots"), None)
    return snapshots is not None and "--" in snapshots.parent.name and path.parent == snapshots.parent / "blobs"


def is_utf8(text: str | None) -> bool:
    """Whether a text can be stored: bytes that are no UTF-8 were read as lone surrogates."""
    return text is None or not any("\ud800" <= c <= "\udfff" for c in text)


def audio_files(folder: Path) -> list[str]:
    """Files with sound, by their extension or first bytes; sorted names relative to the folder.

    Links that lead out of the folder are left out, and so are hidden files.
    """
    return _files(folder, sound=True)


def other_files(folder: Path) -> list[str]:
    """Files without sound, by the same rules as `audio_files`."""
    return _files(folder, sound=False)


def _files(folder: Path, sound: bool) -> list[str]:
    inside = folder.resolve()
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    paths = (path for path in paths if is_inside(path.resolve(), inside) and holds_sound(path) == sound)
    return [path.relative_to(folder).as_posix() for path in paths]


def matching_files(kind: str, pattern: str, suffix: str) -> list[Path]:
    """The files of a path, of a folder or of a pattern such as shards/*.tar, sorted.

    `kind`: the config key that named them. Raises InputError where there are none, or one is no regular file.
    """
    path = local(pattern)
    if path.is_dir():
        found = sorted(file for file in path.rglob(f"*{suffix}") if not file.is_dir())
    elif path.is_file():
        found = [path]
    else:
        parent = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(parent.glob(str(path.relative_to(path.anchor))))
    odd = next((path for path in found if not path.is_file()), None)
    if odd is not None:
        raise InputError(f"{odd}: is not a file; {kind} {pattern} takes {suffix} files alone.")
    if not found:
        raise InputError(f"{kind} {pattern}: there is no such file, folder or pattern of {suffix} files.")
    return found
