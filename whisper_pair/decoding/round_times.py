"""What a round costs for each kind of drafts and batch size, as far as "auto" needs it, learnt while decoding.

Decoding does not wait for it. A batch size is measured when it first occurs (rounded up to a power of two, and 1 too:
a straight line between known ones), one kind of drafts at a time between a call's rounds, for at most SHARE of
the time that the call has taken; until it is known, a few tokens are drafted (`DraftChoice`). Lengths are
measured upwards, and a longer one only while the longest yet would be the best for a draft that is nearly always right.
Then come trees, from the smallest, each only while the one before would be the best for a draft that trees suit.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from .draft_choice import Relative, best_drafts
from .draft_length import MEASURED, Times, best_draft_tokens, between, bounded, relative
from .tree import DraftTree

SHARE = 0.2  # of a call's time that may go into measuring
HOPEFUL = 0.95  # the agreement for which the longest length worth measuring is looked for
SUITED = (0.6, 0.12, 0.05, 0.03)  # the rank shares for which the largest tree worth measuring is looked for
SEEN = 2  # times that a length is measured, some rounds apart, so that one disturbed moment does not decide

Key = tuple[int, bool]  # batch size, timestamps


class Store(Protocol):
    """Where measurements outlive the process. The engine names no file; its owner does."""

    def load(self) -> dict[Key, Times]:
        """What is known; empty where nothing is."""

    def save(self, known: dict[Key, Times]) -> None:
        """Adds to what is known."""


class Ladder:
    """The times at one batch size, as far as they are measured."""

    def __init__(self, trees: Sequence[DraftTree] = ()) -> None:
        self.candidates = trees
        self.lengths: dict[int, list[float]] = {}  # draft length -> seconds, each time it was measured
        self.trees: dict[DraftTree, list[float]] = {}

    @property
    def times(self) -> Times:
        """The least of each: what disturbs a clock only ever adds."""
        chains = {count: min(seconds) for count, seconds in self.lengths.items()}
        return Times(chains, {tree: min(seconds) for tree, seconds in self.trees.items()})

    def next(self) -> DraftTree | None:
        """The drafts to measure now; None: enough is known."""
        if len(self.lengths) < 2 or (len(self.lengths) < len(MEASURED) and self._longer_may_pay()):
            return DraftTree.chain(MEASURED[len(self.lengths)])
        for count, seconds in self.lengths.items():
            if len(seconds) < SEEN:
                return DraftTree.chain(count)
        if len(self.trees) < len(self.candidates) and self._larger_may_pay():
            return self.candidates[len(self.trees)]
        return next((tree for tree, seconds in self.trees.items() if len(seconds) < SEEN), None)

    def _longer_may_pay(self) -> bool:
        known = list(self.lengths)
        return best_draft_tokens(HOPEFUL, relative(self.times.chains, known[-1]), known) == known[-1]

    def _larger_may_pay(self) -> bool:
        times = self.times
        taken = relative(times.chains, max(times.chains))
        if not self.trees:  # one costs as much as a chain of its depth, or more
            tree = self.candidates[0]
            known = Relative(taken, {tree: taken[min(tree.depth, len(taken) - 1)]})
        else:
            tree = list(self.trees)[-1]
            known = Relative(taken, {each: time / times.chains[0] for each, time in times.trees.items()})
        return best_drafts(SUITED, known, range(len(taken))) == tree

    def measure(self, round_seconds: Callable[[DraftTree], float]) -> None:
        """Time the next drafts, if any are left."""
        drafts = self.next()
        if drafts is None:
            return
        seconds = self.lengths.setdefault(len(drafts), []) if drafts.is_chain else self.trees.setdefault(drafts, [])
        seconds.append(round_seconds(drafts))


class RoundTimes:
    """The round times that one engine knows."""

    def __init__(self, trees: Sequence[DraftTree] = ()) -> None:
        self.trees = sorted((tree for tree in trees if not tree.is_chain), key=len)  # that "auto" may choose
        self.known: dict[Key, Times] = {}
        self.store: Store | None = None  # read when "auto" first asks, written when a batch size is known
        self._begun: dict[Key, Ladder] = {}
        self._taken: dict[Key, Relative] = {}
        self._loaded = False

    def while_decoding(
        self, round_seconds: Callable[[int, DraftTree], float], capacity: int, timestamps: bool
    ) -> Callable[[int], Relative | None]:
        """What one call's `DraftChoice` asks before each round: `taken` at its batch size, measuring a little where it
        is unknown. `round_seconds`: of one round, by batch size and drafts; `capacity`: the largest batch size that can
        be measured."""
        begun, spent = time.perf_counter(), 0.0

        def taken(batch_size: int) -> Relative | None:
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
        self, round_seconds: Callable[[int, DraftTree], float], batch_size: int, capacity: int, timestamps: bool
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

    def measure(self, round_seconds: Callable[[int, DraftTree], float], batch_size: int, timestamps: bool) -> None:
        """One more kind of drafts at one batch size."""
        key = batch_size, timestamps
        ladder = self._begun.setdefault(key, Ladder(self.trees))
        ladder.measure(lambda drafts: round_seconds(batch_size, drafts))
        if ladder.next() is None:
            del self._begun[key]
            self.learn(batch_size, timestamps, ladder.times)

    def learn(self, batch_size: int, timestamps: bool, times: Times) -> None:
        """Take in a batch size's measured times."""
        self.known[batch_size, timestamps] = times
        self._taken.clear()
        if self.store is not None:
            self.store.save(self.known)

    def taken(self, batch_size: int, timestamps: bool) -> Relative | None:
        """A round's time over a plain step's, for 0 drafts up to the longest chain that was measured, and for the trees
        that were; None: not known yet. Between two measured batch sizes, on the straight line."""
        key = batch_size, timestamps
        if key not in self._taken:
            below, above = self._around(batch_size, timestamps)
            if below is None or above is None:
                return None
            sides = {size: self.known[size, timestamps] for size in (below, above)}
            chains = {size: bounded(times.chains) for size, times in sides.items()}
            longest = max(map(max, chains.values()))
            blended = {
                count: between({size: between(times, count) for size, times in chains.items()}, batch_size)
                for count in range(longest + 1)
            }
            trees = [tree for tree in sides[below].trees if tree in sides[above].trees]
            self._taken[key] = Relative(
                relative(blended, longest),
                {
                    tree: between({size: times.trees[tree] for size, times in sides.items()}, batch_size) / blended[0]
                    for tree in trees
                },
            )
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
