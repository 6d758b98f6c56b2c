"""One call of decode at one temperature: windows enter the batch, rounds decode them, and each leaves when it ends.

A round is submitted and then read. On a GPU the inputs of the next one are made there too, so it may be submitted
before this one is read. The host then reads a round while the GPU is at the next, and its own work takes no time:

    device    | round 1 | round 2 | round 3 |
    host     1 2       r1 3      r2 4      r3

But a row's end is seen a round late, and its slot is idle meanwhile. So this is done only where the chance that a row
ends is smaller than what it saves. Otherwise the next round is submitted as soon as this one is read and ends no row,
before the host counts its tokens.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .batch import Batch
from .draft_choice import DraftChoice
from .options import Round
from .own_encoder import OwnEncoder
from .round_result import InFlight, VerificationResult
from .round_shape import RoundShape
from .round_times import CallTimes
from .rows import Row
from .sampling import Sampling
from .short_windows import coarse
from .tree import DraftTree
from .upcoming import Upcoming

OnRound = Callable[[int, Round], None]

# What reading a round and submitting the next take of it. Assumed, for a GPU: a third of all that the host took of a
# round on an H100 at batch 1, which was 0.087 of a plain one and 0.064 of one with 5 drafts.
READING = 0.025


def chance_allowed(ahead: bool | None, device: torch.device) -> float:
    """Below which chance that a row ends the next round is submitted before this one is read. None: where that pays,
    which it never does where the device does not work by itself."""
    if ahead is None:
        return READING if device.type == "cuda" else 0.0
    return math.inf if ahead else 0.0


class Call:
    """The rows of one call at one temperature."""

    def __init__(
        self,
        batch: Batch,
        drafts: DraftChoice,
        times: CallTimes,
        clock: Callable[[], float],
        sampling: Sampling | None,  # None: greedy
        own: OwnEncoder | None,
        ahead: float,  # see `chance_allowed`
        on_round: OnRound | None,
    ):
        self.batch, self.rounds, self.drafts, self.times, self.clock = batch, batch.rounds, drafts, times, clock
        self.sampling, self.own, self.ahead, self.on_round = sampling, own, ahead, on_round
        self.learns = drafts.fixed is None and drafts.untried is not None  # what rounds take

    def run(self, upcoming: Upcoming) -> Iterator[Row]:
        """Decode all rows, yielding each when it ends."""
        rows, proposer = self.batch.rows, self.rounds.proposer
        while True:
            self.batch.admit(upcoming.take(self.batch.free))
            if not rows:
                return
            if self.own is not None and proposer is not None:
                self.own.catch_up(rows, proposer.state)
            self._decode(upcoming)
            for slot in reversed(range(len(rows))):
                if rows[slot].done:
                    row = self.batch.leave(slot)
                    if self.own is not None and proposer is not None:
                        self.own.weigh(
                            row, proposer.state, self.drafts, self.times.taken(self.batch.options.batch_size)
                        )
                    yield row

    def _decode(self, upcoming: Upcoming) -> None:
        """One round, and those whose inputs the device has: none of them after a row's end was read."""
        tree = self._choose()
        if self._is_timed(tree):
            self._timed_round(tree)
            return
        flight: InFlight | None = self._submit(tree)
        while flight is not None:
            ready, following = self._next_round(flight), None
            if ready is not None and self.drafts.ends(self.batch.lengths, flight.shape.tree) < self.ahead:
                following = self.rounds.submit(*ready)
            upcoming.draw_ahead()
            results = flight.results()
            if ready is not None and following is None and not self._any_ends(results):
                following = self.rounds.submit(*ready)
            self._take(results)
            flight = following

    def _choose(self) -> DraftTree:
        """What the next round drafts."""
        self.times.frames = coarse(self.batch.frames, self.batch.caches.full)
        if not all(row.drafts for row in self.batch.rows):
            return DraftTree.chain(0)
        return self.drafts.choose(self.batch.lengths)

    def _submit(self, tree: DraftTree) -> InFlight:
        """A round, from what the rows hold."""
        inputs, shape = self.batch.round(tree)
        if self.sampling is None:
            return self.rounds.submit(inputs, shape)
        return self.rounds.with_probabilities(inputs, shape, self.sampling)

    def _next_round(self, flight: InFlight) -> tuple[Tensor, RoundShape] | None:
        """The round after one that is not read yet; None where the host must have read it."""
        batch = self.batch
        if flight.following is None or any(row.done for row in batch.rows):
            return None
        tree = self._choose()
        unread = bool(tree) and not flight.shape.tree  # the draft was not fed what this round adds
        if unread or self._is_timed(tree):
            return None
        return batch.next_round(tree, flight, flight.following)

    def _any_ends(self, results: list[VerificationResult]) -> bool:
        """Does a row end with its result?"""
        return any(row.ends(result) for row, result in zip(self.batch.rows, results, strict=False))

    def _take(self, results: list[VerificationResult]) -> int:
        """Give each row its round; how many tokens all of them won."""
        won = 0
        for row, result in zip(self.batch.rows, results, strict=False):  # a captured round may hold more rows
            if row.done:  # it ended while this round was on its way
                continue
            step = row.advance(result)
            won += len(step.tokens)
            path = result.path[: row.accepted[-1]]
            self.drafts.observe(result.tree, path, row.drafted[-1], len(step.tokens), row.length, row.done)
            if self.on_round is not None:
                self.on_round(row.index, step)
        return won

    def _is_timed(self, tree: DraftTree) -> bool:
        """Does a decision of "auto" hang on how long this round takes? Then it has the device for itself."""
        return self.own is not None or (self.learns and self.times.untried(len(self.batch.rows)) == tree)

    def _timed_round(self, tree: DraftTree) -> None:
        begun, captures = self.clock(), self.rounds.graphs.captures
        flight = self._submit(tree)
        results = flight.results()
        seconds = self.clock() - begun
        known = seconds > 0  # or the clock is too coarse
        if known and self.learns and flight.shape.width == 2 and self.rounds.graphs.captures == captures:
            self.times.record(len(self.batch.rows), tree, seconds)
        won = self._take(results)
        if self.own is not None and not tree:
            self.own.observe(seconds, won)
