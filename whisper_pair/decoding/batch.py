"""The rows that are decoded together: row i in slot i of the caches. Windows are taken in, and rows leave."""

import torch
from torch import Tensor

from .caches import Caches
from .kv_cache import Keys
from .options import Options
from .prefixes import language_tokens, read_prefixes
from .round_inputs import padded
from .round_result import InFlight
from .round_shape import RoundShape
from .round_times import power_of_two
from .rounds import Rounds
from .rows import Row
from .short_windows import bucketed
from .special_tokens import SpecialTokens
from .tree import DraftTree

SHORT_PREFIX = 8  # tokens at most that a row's first round reads; previous text is longer and is read apart


class Batch:
    """The rows of one call, their slots, and the shapes of their rounds."""

    def __init__(
        self,
        rounds: Rounds,
        caches: Caches,
        special: SpecialTokens,
        options: Options,
        bucketed: bool,  # are a round's sizes rounded up, so that few graphs serve all?
    ):
        self.rounds, self.caches, self.special, self.options = rounds, caches, special, options
        self.bucketed = bucketed
        self.rows: list[Row] = []

    @property
    def free(self) -> int:
        """How many rows may enter."""
        return self.options.batch_size - len(self.rows)

    @property
    def lengths(self) -> list[int]:
        """Tokens that each row has decoded, as far as the host has read."""
        return [row.length for row in self.rows]

    @property
    def frames(self) -> int:
        """Of the longest window."""
        return max(row.frames for row in self.rows)

    def admit(self, fresh: list[Row]) -> None:
        """Take in new rows, in the slots after the others'."""
        if not fresh:
            return
        first, main, proposer, options = len(self.rows), self.rounds.main, self.rounds.proposer, self.options
        fresh.sort(key=lambda row: row.frames)  # windows of one length are taken in together
        self.caches.widen(fresh[-1].frames, first)
        main.admit([row.states for row in fresh], first)
        cross = main.cache.cross_views(len(fresh), first)
        languages = language_tokens(main.decoder, cross, len(fresh), self.special, options)
        for row, language in zip(fresh, languages, strict=True):
            row.begin(self.special, options, language)
        known = [row.draft_states for row in fresh if row.drafts]  # to the draft
        if proposer is not None and len(known) == len(fresh):
            proposer.state.admit(known, first)
        # A prefix that the first round reads widens that round for all rows: for nothing where a graph is replayed, but
        # on the CPU only where all are new is it cheaper than a forward apart.
        short = max(row.start for row in fresh) <= SHORT_PREFIX
        if not short or options.no_speech_threshold is not None or (first and not self.bucketed):
            states = self.rounds.states if len(known) == len(fresh) else [main]
            read_prefixes(fresh, first, states, self.special, options)
        if 0 < len(known) < len(fresh):  # some were drawn before it was decided that the draft's encoder is used
            for row in fresh:
                row.drafts = False
        if len(options.temperatures) == 1:
            for row in fresh:
                row.release_states()
        self.rows += fresh

    def leave(self, slot: int) -> Row:
        """Take a row out; the last one moves into its slot, so that the rows in use stay the first ones."""
        row, last = self.rows[slot], self.rows.pop()
        if last is not row:
            for state in self.rounds.states:
                state.cache.move(len(self.rows), slot)
            self.rows[slot] = last
        return row

    def round(self, tree: DraftTree) -> tuple[Tensor, RoundShape]:
        """A round's inputs, from what the rows hold, and its shape."""
        reads = max(len(row.tokens) - row.main_cached for row in self.rows)  # 1 but where a prefix is yet to be read
        width = max(2, reads)
        if tree:
            width = max(width, *(len(row.tokens) - row.draft_cached for row in self.rows))
        shape = self._shape(tree, self._longest, width, reads, begins=0 in self.lengths)
        inputs = torch.tensor([row.inputs(shape.width) for row in self.rows])
        return padded(inputs, shape.batch).to(self.rounds.main.decoder.device), shape

    def next_round(self, tree: DraftTree, flight: InFlight, inputs: Tensor) -> tuple[Tensor, RoundShape]:
        """The same after a round of these rows that is not read yet, from the inputs that it makes."""
        shape = self._shape(tree, self._longest + flight.shape.tree.depth + 1)
        return padded(inputs[: len(self.rows)], shape.batch), shape

    @property
    def _longest(self) -> int:
        return max(len(row.tokens) for row in self.rows)

    def _shape(self, tree: DraftTree, longest: int, width: int = 2, reads: int = 1, begins: bool = False) -> RoundShape:
        """For rows of at most `longest` tokens."""
        batch, slots, frames = len(self.rows), longest + len(tree), self.frames
        if self.bucketed:
            batch, width, reads = power_of_two(batch), power_of_two(width), power_of_two(reads)
            slots = min(power_of_two(max(slots, 64)), self.rounds.main.decoder.positions)
            frames = bucketed(frames, self.caches.full)
        return RoundShape(
            batch,
            width,
            tree,
            Keys(slots, frames, masked=any(row.frames < frames for row in self.rows)),
            begins=self.bucketed or begins,
            reads=reads,
            log_probabilities=self.options.needs_log_probabilities,
            until_end=not self.bucketed and not self.rounds.onward,
            few_widths=self.bucketed,
            onward=self.rounds.onward,
        )
