"""A stop arrives even where a library drops what is raised in its callbacks."""

import contextlib
import os
import signal

import pytest

from whisper_pair.errors import StoppedError
from whisper_pair.runs.signals import stop_on_signals


def dropped() -> None:
    """A signal in a callback of such a library."""
    with contextlib.suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_stop_that_was_dropped_is_raised_by_the_next_check():
    reached = []
    stopped = pytest.raises(StoppedError, match="stopped by SIGTERM; all is kept; the same command")
    with stopped, stop_on_signals(lambda: "all is kept") as check:
        check()
        dropped()
        reached.append("before")
        check()
        reached.append("after")
    assert reached == ["before"]


def test_a_stop_that_was_dropped_is_raised_at_the_end_where_nothing_checks():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError), stop_on_signals(lambda: "all is kept"):
        dropped()
    assert signal.getsignal(signal.SIGTERM) is before
