"""What a round costs for each kind of drafts, batch size and length of windows, as far as "auto" needs it.

It is learned while decoding. Nothing is run for it: where a batch size is unknown (rounded up to a power of two), the
rounds of a call try one kind of drafts after another, and what they take is what is learned. Each wins tokens as any
round does. A call learns about the largest batch that it has had, since it soon ends once rows no longer fill it; for
other sizes serve the straight line between known ones, or the nearest. Lengths are tried upwards, and a longer one only
while the longest yet would be the best for a draft that is nearly always right. Then come trees, from the smallest,
each only while the one before would be the best for a draft that trees suit. Where a call's own draft is poor it tries
no longer ones (`DraftChoice`), and goes by what is known so far.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from .draft_choice import Relative, best_drafts
from .draft_length import MEASURED, Times, best_draft_tokens, between, bounded, relative
from .tree import DraftTree

HOPEFUL = 0.95  # the agreement for which the longest length worth measuring is looked for
SUITED = (0.6, 0.12, 0.05, 0.03)  # the rank shares for which the largest tree worth measuring is looked for
SEEN = 2  # times that a length is measured, so that one disturbed moment does not decide

Key = tuple[int, bool, int | None]  # batch size, timestamps, frames of the longest window; None: a full one


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
        for count, seconds in self.lengths.items():
            if len(seconds) < SEEN:
                return DraftTree.chain(count)
        if len(self.lengths) < 2 or (len(self.lengths) < len(MEASURED) and self._longer_may_pay()):
            return DraftTree.chain(MEASURED[len(self.lengths)])
        for tree, seconds in self.trees.items():
            if len(seconds) < SEEN:
                return tree
        if len(self.trees) < len(self.candidates) and self._larger_may_pay():
            return self.candidates[len(self.trees)]
        return None

    def taken(self) -> Relative | None:
        """Over a plain step's, as far as it is known; None: not even one draft's."""
        times = self.times
        if 1 not in times.chains:
            return None
        trees = {tree: seconds / times.chains[0] for tree, seconds in times.trees.items()}
        return Relative(relative(times.chains, max(times.chains)), trees)

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

    def record(self, drafts: DraftTree, seconds: float) -> None:
        """Take in what a round took."""
        taken = self.lengths.setdefault(len(drafts), []) if drafts.is_chain else self.trees.setdefault(drafts, [])
        taken.append(seconds)


class RoundTimes:
    """The round times that one engine knows."""

    def __init__(self, trees: Sequence[DraftTree] = ()) -> None:
        self.trees = sorted((tree for tree in trees if not tree.is_chain), key=len)  # that "auto" may choose
        self.known: dict[Key, Times] = {}
        self.store: Store | None = None  # read when "auto" first asks, written when a batch size is known
        self._begun: dict[Key, Ladder] = {}
        self._taken: dict[Key, Relative] = {}
        self._loaded = False

    def in_call(self, timestamps: bool) -> "CallTimes":
        """The same for the rounds of one call."""
        return CallTimes(self, timestamps)

    def complete(
        self,
        round_seconds: Callable[[int, DraftTree], float],
        batch_size: int,
        capacity: int,
        timestamps: bool,
        frames: int | None = None,
    ) -> None:
        """Measure at once what calls of up to `batch_size` rows would learn; `round_seconds`: of one round, by batch
        size and drafts; `capacity`: the largest batch size that can be measured."""
        for size in (min(power_of_two(batch_size), capacity), 1):
            while (drafts := self.untried(size, timestamps, frames)) is not None:
                self.record(size, timestamps, drafts, round_seconds(size, drafts), frames)

    def untried(self, batch_size: int, timestamps: bool, frames: int | None = None) -> DraftTree | None:
        """The drafts to try next in rounds of this size; None: enough is known."""
        self._load()
        bucket = power_of_two(batch_size)
        if any(power_of_two(size) == bucket for size in self._sizes(timestamps, frames)):
            return None
        if None not in self._around(batch_size, timestamps, frames):
            return None
        return self._begun.setdefault((bucket, timestamps, frames), Ladder(self.trees)).next()

    def record(
        self, batch_size: int, timestamps: bool, drafts: DraftTree, seconds: float, frames: int | None = None
    ) -> None:
        """Take in what a round took that `untried` asked for."""
        key = power_of_two(batch_size), timestamps, frames
        if key not in self._begun or self._begun[key].next() != drafts:
            return
        self._begun[key].record(drafts, seconds)
        if self._begun[key].next() is None:
            self.learn(key[0], timestamps, self._begun.pop(key).times, frames)

    def learn(self, batch_size: int, timestamps: bool, times: Times, frames: int | None = None) -> None:
        """Take in a batch size's measured times."""
        self.known[batch_size, timestamps, frames] = times
        self._taken.clear()
        if self.store is not None:
            self.store.save(self.known)

    def taken(self, batch_size: int, timestamps: bool, frames: int | None = None) -> Relative | None:
        """A round's time over a plain step's, for 0 drafts up to the longest chain that was measured, and for the trees
        that were; None: not known yet. Between two measured batch sizes, interpolated; otherwise of the nearest."""
        self._load()
        key = batch_size, timestamps, frames
        if key not in self._taken:
            below, above = self._around(*key)
            below, above = below or above, above or below
            if below is None or above is None:
                begun = self._begun.get((power_of_two(batch_size), timestamps, frames))
                return None if begun is None else begun.taken()
            at = min(max(batch_size, below), above)
            sides = {size: self.known[size, timestamps, frames] for size in (below, above)}
            chains = {size: bounded(times.chains) for size, times in sides.items()}
            longest = max(map(max, chains.values()))
            blended = {
                count: between({size: between(times, count) for size, times in chains.items()}, at)
                for count in range(longest + 1)
            }
            trees = [tree for tree in sides[below].trees if tree in sides[above].trees]
            self._taken[key] = Relative(
                relative(blended, longest),
                {
                    tree: between({size: times.trees[tree] for size, times in sides.items()}, at) / blended[0]
                    for tree in trees
                },
            )
        return self._taken[key]

    def _sizes(self, timestamps: bool, frames: int | None) -> list[int]:
        """The known batch sizes."""
        return [size for size, *others in self.known if others == [timestamps, frames]]

    def _around(self, batch_size: int, timestamps: bool, frames: int | None) -> tuple[int | None, int | None]:
        """The nearest known batch sizes, no larger and no smaller."""
        sizes = self._sizes(timestamps, frames)
        below = max((size for size in sizes if size <= batch_size), default=None)
        return below, min((size for size in sizes if size >= batch_size), default=None)

    def _load(self) -> None:
        if self.store is not None and not self._loaded:
            self.known = self.store.load() | self.known
            self._taken.clear()
        self._loaded = True


class CallTimes:
    """The round times as one call asks for them."""

    def __init__(self, times: RoundTimes, timestamps: bool):
        self.times, self.timestamps = times, timestamps
        self.frames: int | None = None  # of the longest window in the rounds that follow, coarsely; None: a full one
        self._largest: dict[int | None, int] = {}  # batch of the call so far, as a power of two, by frames

    def taken(self, batch_size: int) -> Relative | None:
        """A round's time over a plain step's; None: not known yet."""
        return self.times.taken(batch_size, self.timestamps, self.frames)

    def untried(self, batch_size: int) -> DraftTree | None:
        """The drafts that the next round should try, so that their time is known; None: any."""
        bucket = power_of_two(batch_size)
        largest = self._largest[self.frames] = max(self._largest.get(self.frames, 0), bucket)
        return self.times.untried(batch_size, self.timestamps, self.frames) if bucket == largest else None

    def record(self, batch_size: int, drafts: DraftTree, seconds: float) -> None:
        """Take in what a round took."""
        if power_of_two(batch_size) == self._largest.get(self.frames):
            self.times.record(batch_size, self.timestamps, drafts, seconds, self.frames)


def power_of_two(count: int) -> int:
    """The least power of two that is no smaller."""
    return 1 << (count - 1).bit_length()
