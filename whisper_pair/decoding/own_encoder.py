"""Is an assistant's own encoder worth its time? Decided by "auto" within a call, before that time is spent.

An assistant that was not made for the main brings an encoder, which runs once a window whatever is drafted. Drafting
saves D (1 - 1/S) seconds a window, with D the main's own decoding and S the cost model's speedup, so that must be more
than the encoder takes. A call begins with the main alone, which gives D. While D itself is less than the encoder would
take (at first estimated from its size), nothing is tried. Otherwise one window that has ended is asked about: its
encoder states and one parallel pass over its text give the rank shares (rank_shares.py) without drafting a token. Only
if that could pay are tokens drafted, so that what rounds cost is learned (round_times.py), and S is known. An encoder
that is tiny beside the main's is used from the first window on, and given up like any other.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .draft_choice import DraftChoice, Relative
from .draft_length import LONGEST, expected_length
from .encoders import encode_each
from .model_state import ModelState
from .proposing import CHOICES
from .rows import Row
from .teacher_forced import ranks, read_along

CHEAP = 0.05  # of the main's encoder: what a call loses at most if it uses it in vain
FEWEST = 4  # tokens of a window that is asked about


class OwnEncoder:
    """What one call knows of it."""

    def __init__(self, main: WhisperEncoder, own: WhisperEncoder, ratio: float, clock: Callable[[], float]):
        self.main, self.own, self.clock = main, own, clock
        self.ratio = ratio  # of the encoders' `work`, own over main: used until its time is measured
        self.used: bool | None = True if ratio <= CHEAP else None  # None: undecided, and not used
        self._main, self._own = Mean(), Mean()  # seconds a window
        self._plain = Mean()  # seconds of the main's decoding alone, a token
        self._tokens = Mean()  # a window

    def encode(self, windows: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor] | None]:
        """Windows [mel, 2 F] -> the main's encoder states [F, d], and the assistant's where they are used."""
        states = self._timed(self.main, windows, self._main)
        return states, self.encode_own(windows) if self.used else None

    def encode_own(self, windows: Sequence[Tensor]) -> list[Tensor]:
        """Windows [mel, 2 F] -> the assistant's encoder states [F, its d]."""
        return self._timed(self.own, windows, self._own)

    def _timed(self, encoder: WhisperEncoder, windows: Sequence[Tensor], mean: "Mean") -> list[Tensor]:
        start = self.clock()
        states = encode_each(encoder, windows)
        device = states[0].device
        if device.type == "cuda" and self.used is None:
            torch.cuda.synchronize(device)
        mean.add(self.clock() - start, len(windows))
        return states

    def ranks(self, row: Row, draft: ModelState) -> list[int]:
        """Which of the assistant's choices the tokens of a row that has ended are; runs its encoder for it."""
        if row.features is None:
            raise ValueError("the row's features were not kept")
        prefix, tokens = row.tokens[: row.start], row.tokens[row.start :]
        states = self.encode_own([row.features])
        (found,) = read_along(draft.decoder, draft.head, states, [prefix], [tokens], ranks(draft.head))
        return [rank for rank, *_ in found]

    def catch_up(self, active: Sequence[Row], draft: ModelState) -> None:
        """Where the encoder is used, let the draft know the rows that began without it: row i in slot i."""
        began = [(slot, row, row.features) for slot, row in enumerate(active) if not row.drafts]
        known = [(slot, row, features) for slot, row, features in began if features is not None]
        if not self.used or not known:
            return
        states = self.encode_own([features for _, _, features in known])
        for its, (slot, row, _) in zip(states, known, strict=True):
            draft.admit([its], slot)
            row.drafts, row.features = True, None

    def observe(self, seconds: float, won: int) -> None:
        """Count a round of the main alone, all its rows together."""
        self._plain.add(seconds, won)

    def weigh(
        self,
        row: Row,  # one that has ended
        draft: ModelState,
        drafts: DraftChoice,
        taken: Relative | None,  # what rounds cost, as far as it is known
    ) -> None:
        """Decide for the windows to come, as far as enough is known."""
        tokens = row.length
        self._tokens.add(tokens, 1)
        if self.used is False or not self._plain.count:
            return
        if self.used is None:
            if tokens < FEWEST or self.decoding <= self.own_seconds:
                return
            drafts.ranks.learn(self.ranks(row, draft))
            if self._saved(expected_length(sum(drafts.ranks.shares[:CHOICES]), LONGEST)) <= self.own_seconds:
                self.used = False  # not even if drafts were free
                return
        self.used = taken is None or self._saved(drafts.speedup(taken)) > self.own_seconds

    @property
    def decoding(self) -> float:
        """D"""
        return self._plain.value * self._tokens.value

    @property
    def own_seconds(self) -> float:
        """What the assistant's encoder takes for a window."""
        return self._own.value if self._own.count else self.ratio * self._main.value

    def _saved(self, speedup: float) -> float:
        return self.decoding * (1 - 1 / speedup)


class Mean:
    """A running mean."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, total: float, count: int) -> None:
        """Adds the sum of `count` values."""
        self.total += total
        self.count += count

    @property
    def value(self) -> float:
        """The mean so far."""
        return self.total / self.count


def work(config: WhisperConfig) -> float:
    """Multiplications of an encoder a frame, its convolutions left out."""
    width = config.d_model
    return float(config.encoder_layers * (12 * width**2 + 2 * config.max_source_positions * width))
