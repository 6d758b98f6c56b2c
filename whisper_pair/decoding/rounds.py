"""One round of speculation on the device: the draft proposes, the main verifies, each row for itself.

A round knows a row by its last tokens only. Fed to the main are the last token and the drafts; its choice after each
comes out of one forward. In a row's first round it may be fed the whole prefix, which saves a forward.

`inputs` [B, width + 3] carries all that changes between rounds in one transfer: the last `width` tokens, then the row's
length, how many tokens it has decoded, and its last timestamp or -1.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .graphs import Graphs
from .logits_rules import TokenHistory
from .model_state import ModelState, Step
from .proposing import Proposer
from .round_shape import RoundShape
from .sampling import Sampling, accept, distribution


class VerificationResult(NamedTuple):
    """One row's round."""

    proposed: list[int]  # the draft's tokens
    accepted: int  # how many of them the main agrees with
    following: int  # the main's own token after those
    offered: int  # how many were proposed before the draft lost confidence
    log_probabilities: list[float] | None  # of the accepted tokens and the following one, where asked for


class Rounds:
    """The rounds of one call: the main, and what proposes tokens to it if anything does."""

    def __init__(self, main: ModelState, proposer: Proposer | None, graphs: Graphs, vocabulary_size: int):
        self.main, self.proposer, self.graphs, self.size = main, proposer, graphs, vocabulary_size

    @property
    def states(self) -> list[ModelState]:
        """The main's, and the draft's if there is one."""
        return [self.main] if self.proposer is None else [self.main, self.proposer.state]

    def greedy(self, inputs: Tensor, shape: RoundShape) -> list[VerificationResult]:
        """Draft and verification in one go (one graph), one synchronisation. One result a row."""
        rows = self.graphs((self.main.head.rules, shape), lambda given: self._greedy(given, shape), inputs).tolist()
        results, log_probabilities = [], None
        for row in rows:
            count = len(row) - 2
            if shape.log_probabilities:
                count = len(row) // 2 - 1
                log_probabilities = row[count + 2 :]
            *proposed, accepted, following = map(int, row[: count + 2])
            # Offered are those past a drafted end of text too: rows.py decides what counts.
            results.append(VerificationResult(proposed, accepted, following, shape.draft_tokens, log_probabilities))
        return results

    def _greedy(self, inputs: Tensor, shape: RoundShape) -> Tensor:
        """-> [B, T + 2]: the T drafts, how many the main agrees with, the main's token after those.

        With log-probabilities, those of the main's T + 1 choices stand behind. All of it is float64 then, which
        holds a token's number and a float32 exactly, so that it goes to the host in one transfer.
        """
        drafts = inputs[:, :0] if self.proposer is None else self.proposer.greedy(inputs, shape)
        if not shape.log_probabilities:
            return _agreed(drafts, self.verify(inputs, drafts, shape))
        choices, log_probabilities = self._verify_with_log_probabilities(inputs, drafts, shape)
        return torch.cat([_agreed(drafts, choices).double(), log_probabilities.double()], 1)

    def verify(self, inputs: Tensor, drafts: Tensor, shape: RoundShape) -> Tensor:
        """The main's choices after the last token and after each of the drafts [B, T]: [B, T + 1]."""
        hidden, history = self._read_drafts(inputs, drafts, shape, self.main.step)
        return self.main.head.choose(hidden, history, shape.begins)

    def _verify_with_log_probabilities(
        self, inputs: Tensor, drafts: Tensor, shape: RoundShape
    ) -> tuple[Tensor, Tensor]:
        """The main's choices, and their log-probabilities under the rules in float32: [B, T + 1] twice."""
        hidden, history = self._read_drafts(inputs, drafts, shape, self.main.step)
        masked = self.main.head.masked(hidden, history, self.size)  # [B, T + 1, V]
        return masked.argmax(-1), masked.log_softmax(-1).amax(-1)

    def _read_drafts(
        self, inputs: Tensor, drafts: Tensor, shape: RoundShape, step: Step
    ) -> tuple[Tensor, TokenHistory]:
        """The main's hidden states after the last token and after each draft: [B, T + 1, d]."""
        width, reads = shape.width, shape.reads
        length = inputs[:, width : width + 1]
        tokens = torch.cat([inputs[:, :width], drafts], 1)  # [B, width + T]
        positions = length + torch.arange(-reads, drafts.shape[1], device=inputs.device)
        if reads > 1:
            positions = positions.clamp(min=0)
        hidden = step(tokens[:, width - reads :], positions, shape.key_length)[:, reads - 1 :]
        return hidden, TokenHistory(tokens[:, width - 2 :], inputs[:, width + 1 : width + 2], inputs[:, width + 2 :])

    def with_probabilities(self, inputs: Tensor, shape: RoundShape, sampling: Sampling) -> list[VerificationResult]:
        """The same round with probabilities at hand: for sampling, the confidence stop and log-probabilities."""
        drafts, accepted = inputs[:, :0], inputs.new_zeros(shape.batch)
        q, offered = inputs.new_zeros(shape.batch, 0, self.size, dtype=torch.float32), accepted
        if self.proposer is not None:
            drafts, q, offered = self.proposer.with_probabilities(inputs, shape, sampling)
        hidden, history = self._read_drafts(inputs, drafts, shape, self.main.captured(self.graphs))
        masked = self.main.head.masked(hidden, history, self.size)  # [B, T + 1, V]
        if sampling.temperature == 0:
            choices = masked.argmax(-1)
            accepted = torch.minimum(_count_agreed(drafts, choices), offered)
            following = choices.gather(1, accepted[:, None])[:, 0]
        else:
            p = distribution(masked, sampling.temperature)
            accepted, following = accept(p, q, drafts, offered, sampling.generator)
        at = torch.arange(drafts.shape[1] + 1, device=inputs.device)
        tokens = torch.where(at == accepted[:, None], following[:, None], F.pad(drafts, (0, 1)))
        log_probabilities = masked.log_softmax(-1).gather(-1, tokens[..., None])[..., 0].tolist()
        rows = torch.cat([drafts, accepted[:, None], following[:, None], offered[:, None]], 1).tolist()
        return [
            VerificationResult(row[:-3], row[-3], row[-2], row[-1], values)
            for row, values in zip(rows, log_probabilities, strict=True)
        ]


def _count_agreed(drafts: Tensor, choices: Tensor) -> Tensor:
    """drafts [B, T], the main's choices [B, T + 1] -> how many drafts agree before the first that does not: [B]."""
    return (drafts == choices[:, :-1]).long().cumprod(1).sum(1)


def _agreed(drafts: Tensor, choices: Tensor) -> Tensor:
    """drafts [B, T], the main's choices [B, T + 1] -> [B, T + 2]: drafts, how many agree, the choice after those."""
    accepted = _count_agreed(drafts, choices)[:, None]
    return torch.cat([drafts, accepted, choices.gather(1, accepted)], 1)
