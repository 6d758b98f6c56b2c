"""A run that is asked to stop keeps what it has done.

Training finishes its step and saves first; labelling and evaluation, which keep their results as they go, stop at once.

Schedulers (SLURM, Kubernetes, spot machines) send SIGTERM some seconds before SIGKILL; users press Ctrl-C.
The exit status is 128 + the signal's number, 143 and 130, as shells and schedulers know it: the run neither succeeded
nor failed, and the same command continues it.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import StoppedError

ASKING = (signal.SIGTERM, signal.SIGINT)
IMPATIENT = 1.0  # seconds after which another Ctrl-C is a second one


class StopRequest:
    """Inside `with StopRequest() as stop_request`, the first signal sets `stop_request.signal`.

    Launchers and schedulers repeat theirs, which changes nothing; a user's second Ctrl-C acts at once, as usual.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._received) for number in ASKING}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _received(self, number: int, _frame) -> None:
        if self.signal is None:
            self.signal, self._since = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._since > IMPATIENT:
            raise KeyboardInterrupt

    def soon(self, seconds: float = 1.0) -> bool:
        """Whether a stop is requested, or will be within a moment: of several processes one receives it first."""
        end = time.monotonic() + seconds
        while self.signal is None and time.monotonic() < end:
            time.sleep(0.05)
        return self.signal is not None


@contextlib.contextmanager
def stop_on_signals(kept: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """Inside, a signal raises StoppedError at once; `kept()` says what stays. For work whose results are whole on disk,
    or absent, at every moment.

    PyAV and others drop what is raised in their callbacks. So the error is raised again at the end, and by the check
    that this yields, to be called after each piece of long work.
    """
    received: list[int] = []

    def stop(number: int, _frame) -> None:
        received.append(number)
        check()

    def check() -> None:
        if received:
            raise stopped_error(received[0], f"{kept()}; the same command goes on from there.")

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {number: signal.signal(number, stop) for number in ASKING}
    try:
        yield check
        check()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped_error(number: int | None, kept: str) -> StoppedError:
    """`number` None: another process of the run received the signal."""
    number = number or signal.SIGTERM
    return StoppedError(f"stopped by {signal.Signals(number).name}; {kept}", 128 + number)
