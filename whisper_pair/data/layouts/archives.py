"""Corpora in a tar or a ZIP, as they are published: unpacked once, into data.cache.

Only regular files whose names stay inside are written; links, devices and anything else in the archive are left out.
"""

import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from filelock import FileLock

from ...errors import InputError

ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar", ".zip")
INFLATION = 100  # times its size that an archive may unpack to, once it is ...
LARGE = 1 << 30  # bytes: compressed audio hardly shrinks


def is_archive(path: Path) -> bool:
    """Whether a path names a tar, compressed or not, or a ZIP."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def unpacked(archive: Path, cache: str | None) -> Path:
    """The folder with an archive's files, below `cache`; a second call finds it. Raises InputError where it cannot be
    unpacked, or claims more than any corpus holds."""
    if cache is None:
        raise InputError(f"{archive}: is an archive, which needs a folder to be unpacked in; set data.cache.")
    about = archive.stat()
    digest = hashlib.sha256(f"{archive.resolve()} {about.st_size} {about.st_mtime_ns}".encode()).hexdigest()[:12]
    folder = Path(cache) / "unpacked" / f"{archive.name.partition('.')[0][:60]}-{digest}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not folder.is_dir():
                _unpack(archive, folder.with_name(folder.name + ".part"), max(LARGE, INFLATION * about.st_size))
                os.replace(folder.with_name(folder.name + ".part"), folder)
    except InputError:
        raise
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
    ) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{archive}: cannot be unpacked into {folder.parent} ({reason}).") from error
    return folder


def _unpack(archive: Path, folder: Path, most: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
    folder.mkdir()
    total = 0
    for name, size, extract in _zipped(archive) if archive.suffix.lower() == ".zip" else _tarred(archive):
        if ".." in name.replace("\\", "/").split("/"):  # of an absolute name both readers drop the beginning
            raise InputError(f"{archive}: {name!r} would be unpacked outside of its folder.")
        total += size
        if total > most:
            raise InputError(f"{archive}: unpacks to more than {most / 1e9:.0f} GB, which is no corpus of its size.")
        extract(folder)


Member = tuple[str, int, Callable[[Path], object]]  # a regular file's name, its bytes, and what writes it into a folder


def _tarred(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isreg() and not member.issparse():
                write = partial(tar.extract, member, set_attrs=False, filter="data")
                yield member.name, member.size, write


def _zipped(archive: Path) -> Iterator[Member]:
    """A member gives no more bytes than it claims to hold: zipfile reads no further."""
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            of_macos = member.filename.startswith("__MACOSX/")  # what its Finder adds, beside every file
            if not member.is_dir() and kind in (0, stat.S_IFREG) and not of_macos:
                yield member.filename, member.file_size, partial(packed.extract, member)
