"""What a round costs at each draft length and batch size, learnt as far as "auto" needs it while windows are decoded.

Decoding does not wait for it. A batch size is measured when it first occurs (rounded up to a power of two, and 1 too:
a straight line between known ones), one draft length at a time between a call's rounds, for at most SHARE of
the time that the call has taken; until it is known, a few tokens are drafted (`DraftLength`). Lengths are
measured upwards, and a longer one only while the longest yet would be the best for a draft that is nearly always right.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from .draft_length import MEASURED, Times, best_draft_tokens, between, bounded, relative

SHARE = 0.2  # of a call's time that may go into measuring
HOPEFUL = 0.95  # the agreement for which the longest length worth measuring is looked for
SEEN = 2  # times that a length is measured, some rounds apart, so that one disturbed moment does not decide

Key = tuple[int, bool]  # batch size, timestamps


class Store(Protocol):
    """Where measurements outlive the process. The engine names no file; its owner does."""

    def load(self) -> dict[Key, Times]:
        """What is known; empty where nothing is."""

    def save(self, known: dict[Key, Times]) -> None:
        """Adds to what is known."""


class Ladder:
    """One batch size, as far as it is measured."""

    def __init__(self) -> None:
        self.seen: dict[int, list[float]] = {}  # draft length -> seconds, each time it was measured

    @property
    def times(self) -> Times:
        """The least of each: what disturbs a clock only ever adds."""
        return {count: min(seconds) for count, seconds in self.seen.items()}

    def next(self) -> int | None:
        """The length to measure now; None: enough is known."""
        if len(self.seen) < 2 or (len(self.seen) < len(MEASURED) and self._rises()):
            return MEASURED[len(self.seen)]
        return next((count for count, seconds in self.seen.items() if len(seconds) < SEEN), None)

    def _rises(self) -> bool:
        known = list(self.seen)
        return best_draft_tokens(HOPEFUL, relative(self.times, known[-1]), known) == known[-1]

    def measure(self, round_seconds: Callable[[int], float]) -> None:
        """Time the next length, if one is left."""
        count = self.next()
        if count is None:
            return
        self.seen.setdefault(count, []).append(round_seconds(count))


class RoundTimes:
    """The round times that one engine knows."""

    def __init__(self) -> None:
        self.known: dict[Key, Times] = {}
        self.store: Store | None = None  # read when "auto" first asks, written when a batch size is known
        self._begun: dict[Key, Ladder] = {}
        self._taken: dict[Key, list[float]] = {}
        self._loaded = False

    def while_decoding(
        self, round_seconds: Callable[[int, int], float], capacity: int, timestamps: bool
    ) -> Callable[[int], Sequence[float] | None]:
        """What one call's `DraftLength` asks before each round: `taken` at its batch size, measuring a little where it
        is unknown. `round_seconds`: of one round, by batch size and draft length; `capacity`: the largest batch size
        that can be measured."""
        begun, spent = time.perf_counter(), 0.0

        def taken(batch_size: int) -> Sequence[float] | None:
            nonlocal spent
            self._load()
            wanted = self.wanted(batch_size, capacity, timestamps)
            now = time.perf_counter()
            if wanted is not None and spent < SHARE * (now - begun):
                self.measure(round_seconds, wanted, timestamps)
                spent += time.perf_counter() - now
            return self.taken(batch_size, timestamps)

        return taken

    def complete(
        self, round_seconds: Callable[[int, int], float], batch_size: int, capacity: int, timestamps: bool
    ) -> None:
        """Measure all that calls of up to `batch_size` rows will ask for, at once."""
        self._load()
        for size in (batch_size, 1):
            while (wanted := self.wanted(size, capacity, timestamps)) is not None:
                self.measure(round_seconds, wanted, timestamps)

    def wanted(self, batch_size: int, capacity: int, timestamps: bool) -> int | None:
        """The batch size to measure, so that one is known from this one's times on both sides; None: they are."""
        below, above = self._around(batch_size, timestamps)
        if above is None:
            return min(power_of_two(batch_size), capacity)
        return 1 if below is None else None

    def measure(self, round_seconds: Callable[[int, int], float], batch_size: int, timestamps: bool) -> None:
        """One more length at one batch size."""
        key = batch_size, timestamps
        ladder = self._begun.setdefault(key, Ladder())
        ladder.measure(lambda count: round_seconds(batch_size, count))
        if ladder.next() is None:
            del self._begun[key]
            self.learn(batch_size, timestamps, ladder.times)

    def learn(self, batch_size: int, timestamps: bool, times: Times) -> None:
        """Take in a batch size's measured times."""
        self.known[batch_size, timestamps] = times
        self._taken.clear()
        if self.store is not None:
            self.store.save(self.known)

    def taken(self, batch_size: int, timestamps: bool) -> list[float] | None:
        """A round's time over a plain step's, for 0 drafts up to the longest that was measured; None: not known yet.
        Between two measured batch sizes, on the straight line."""
        key = batch_size, timestamps
        if key not in self._taken:
            below, above = self._around(batch_size, timestamps)
            if below is None or above is None:
                return None
            sides = {size: bounded(self.known[size, timestamps]) for size in (below, above)}
            longest = max(max(times) for times in sides.values())
            blended = {
                count: between({size: between(times, count) for size, times in sides.items()}, batch_size)
                for count in range(longest + 1)
            }
            self._taken[key] = relative(blended, longest)
        return self._taken[key]

    def _around(self, batch_size: int, timestamps: bool) -> tuple[int | None, int | None]:
        """The nearest known batch sizes, no larger and no smaller."""
        sizes = [size for size, timed in self.known if timed == timestamps]
        below = max((size for size in sizes if size <= batch_size), default=None)
        return below, min((size for size in sizes if size >= batch_size), default=None)

    def _load(self) -> None:
        if self.store is not None and not self._loaded:
            self.known = self.store.load() | self.known
            self._taken.clear()
        self._loaded = True


def power_of_two(count: int) -> int:
    """The least power of two that is no smaller."""
    return 1 << (count - 1).bit_length()
