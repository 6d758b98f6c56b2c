"""One live run to an output folder.

The kernel keeps the lock and drops it with the process that holds it, however that ends: a lock left by a process that
was killed, or by a machine that was restarted, is no lock. So nobody has to judge whether a process number in a file
still means the same process. Locks of `lockf` also hold between machines that share a network file system, and are not
inherited by the workers that a process forks, which may outlive it for some seconds.
"""

import contextlib
import errno
import json
import os
import socket
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from ..errors import InputError
from .stages import BESIDE, refuse_foreign, refuse_links

FILE = ".lock"  # stays behind, unlocked: to remove it would let two runs hold locks on two files of one name


@contextlib.contextmanager
def lock_run(output: Path) -> Iterator[None]:
    """Holds the output folder for this run, whose first process alone takes the lock for all.

    Raises InputError, with nothing written, where the folder is not a run's or holds links, where another run lives in
    it, or where it cannot be written.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    refuse_foreign(output)
    refuse_links(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(output / FILE, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise InputError(f"output {output}: cannot be written ({error.strerror}).") from error
    with open(descriptor, "r+", encoding="utf-8") as file, contextlib.ExitStack() as held:
        _refuse_other_kinds(os.fstat(descriptor), output / FILE)
        _take(file, output, held)
        try:
            file.truncate(0)
            file.write(json.dumps(_holder()) + "\n")
            file.flush()
        except OSError as error:
            raise InputError(f"output {output}: cannot be written ({error.strerror}).") from error
        yield


def _refuse_other_kinds(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # of two names, the other may be anyone's file
        raise InputError(f"{path}: is not the lock file of a run; remove it.")


def _take(file: TextIO, output: Path, held: contextlib.ExitStack) -> None:
    """Locks the file until it is closed; on Windows, which has no `lockf`, another one beside it, by filelock."""
    try:
        import fcntl
    except ImportError:
        from filelock import FileLock, Timeout

        try:
            held.enter_context(FileLock(output / BESIDE, timeout=0))
        except Timeout:
            raise _taken(file, output) from None
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise InputError(
                f"output {output}: its file system keeps no locks ({error.strerror}); choose an output on another disk."
            ) from error
        raise _taken(file, output) from None


def _taken(file: TextIO, output: Path) -> InputError:
    return InputError(
        f"output {output}: another run is at work in it{_described(file)}; wait for its end, or choose another output."
    )


def _holder() -> dict[str, str | int]:
    return {
        "process": os.getpid(),
        "machine": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _described(file: TextIO) -> str:
    try:
        file.seek(0)
        found = json.loads(file.read())
        return f" (process {found['process']} on {found['machine']}, since {found['since']})"
    except (ValueError, KeyError, TypeError):
        return ""  # between its locking and its writing
