"""Writes in the background: one thread does them, in the order in which they were queued.

The queue is bounded in bytes; `put` waits until there is room. A process waits for the thread when it exits, so nothing
is lost; a process that is killed loses what was still queued.
"""

import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class WriteBehind:
    """The thread, started at the first write, and its queue, by key."""

    def __init__(self, most: int):
        """`most`: bytes that may be queued; a single write of more waits for all others first."""
        self.most = most
        self.reset()

    def reset(self) -> None:
        """An empty queue and a new thread: a forked process has no thread."""
        self._thread = ThreadPoolExecutor(1, "write-behind")
        self._room = threading.Condition()
        self._bytes = 0
        self._waiting: dict[Hashable, Any] = {}
        self._failure: Exception | None = None

    def get(self, key: Hashable) -> Any | None:
        """What is queued under this key; None where nothing is."""
        return self._waiting.get(key)

    def put(self, key: Hashable, what: Any, size: int, write: Callable[[Any], None]) -> None:
        """Queues `write(what)`, of `size` bytes, unless the key is queued. Raises what an earlier write raised."""
        self._raise()
        with self._room:
            if key in self._waiting:
                return
            self._room.wait_for(lambda: not self._waiting or self._bytes + size <= self.most)
            self._thread.submit(self._do, key, what, size, write)
            self._waiting[key] = what
            self._bytes += size

    def flush(self) -> None:
        """Returns when all is written. Raises what a write raised."""
        if self._waiting:
            self._thread.submit(lambda: None).result()  # comes after all others
        self._raise()

    def _do(self, key: Hashable, what: Any, size: int, write: Callable[[Any], None]) -> None:
        try:
            write(what)
        except Exception as error:
            self._failure = self._failure or error
        with self._room:
            self._bytes -= size
            self._waiting.pop(key, None)
            self._room.notify_all()

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


WRITES = WriteBehind(256 << 20)  # of all caches of this process: 66 windows of large-v3 in half precision
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WRITES.reset)
