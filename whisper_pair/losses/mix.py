"""The weighted mix of losses that an assistant is trained by: a chunk's logits are computed once for all of them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Losses
from .chunks import over_chunks
from .divergences import (
    forward_kl,
    jensen_shannon,
    lk,
    negative_log_acceptance,
    reverse_kl,
    total_variation,
)


@dataclass(frozen=True)
class Whole:
    """The teacher's whole distribution, as what it is computed from."""

    hidden: Tensor  # [tokens, teacher width]
    head: Tensor  # [vocabulary, teacher width]

    @property
    def rows(self) -> tuple[Tensor, ...]:
        return (self.hidden,)

    def outcomes(self, student: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of student and teacher over the same outcomes, for some of the tokens."""
        with torch.no_grad():
            return student, F.log_softmax(F.linear(hidden, self.head).float(), dim=-1)


@dataclass(frozen=True)
class TopK:
    """The teacher's k likeliest tokens, and all others as one outcome with the mass that remains.

    The bias: a divergence over these k + 1 outcomes is never above the one over the vocabulary (data processing). KL
    falls short by r KL(p' || q'), with r the remaining mass and p', q' the distributions within it: how q spreads what
    the teacher deems unlikely is not learnt. With k the whole vocabulary nothing remains and nothing is lost.

    At another temperature than 1 these k + 1 outcomes are softened, the rest as one. The softened whole distribution is
    another goal, whose tail weighs more, and its KL may lie above or below.
    """

    ids: Tensor  # [tokens, k]
    log_probabilities: Tensor  # [tokens, k]
    rest: Tensor  # [tokens] log of the remaining mass

    @classmethod
    def of(cls, log_probabilities: Tensor, k: int) -> "TopK":
        """log_probabilities [tokens, vocabulary]"""
        best = log_probabilities.topk(k, dim=-1)
        rest = log_probabilities.scatter(-1, best.indices, -torch.inf).logsumexp(-1)
        return cls(best.indices, best.values, rest.clamp(min=NOTHING))

    @property
    def rows(self) -> tuple[Tensor, ...]:
        return self.ids, self.log_probabilities, self.rest

    def outcomes(self, student: Tensor, ids: Tensor, best: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        ours = student.gather(-1, ids.long())
        if ids.shape[-1] == student.shape[-1]:
            return ours, best.float()
        others = student.scatter(-1, ids.long(), -torch.inf).logsumexp(
            -1, keepdim=True
        )  # not log(1 - sum), which rounds
        return torch.cat([ours, others], -1), torch.cat([best.float(), rest[:, None]], -1)


NOTHING = -60.0  # log of a mass that no float32 sum notices; -inf would make 0 x inf


def mixed(
    hidden: Tensor, head: Tensor, labels: Tensor, teacher: Whole | TopK, losses: Losses, weights: Tensor | None = None
) -> Tensor:
    """Sum over tokens of the weighted losses; no gradient reaches the teacher.

    hidden [tokens, width], head [vocabulary, width], labels [tokens]; weights [tokens]: a factor on each token's loss.
    """

    def of_chunk(hidden: Tensor, head: Tensor, labels: Tensor, weights: Tensor, *rows: Tensor) -> Tensor:
        student = F.log_softmax(F.linear(hidden, head).float(), dim=-1)
        found = student.new_zeros(len(student))
        if losses.cross_entropy:
            found = found + losses.cross_entropy * F.nll_loss(student, labels, reduction="none")
        if losses.divergences:
            found = found + divergence(*teacher.outcomes(student, *rows), losses)
        return (found * weights).sum()

    weights = hidden.new_ones(len(hidden), dtype=torch.float32) if weights is None else weights
    return over_chunks(of_chunk, hidden, head, labels, weights, *teacher.rows)


def divergence(student: Tensor, teacher: Tensor, losses: Losses) -> Tensor:
    """The mix without cross-entropy: log-probabilities [tokens, outcomes] -> [tokens]."""
    found = student.new_zeros(len(student))
    if losses.kl:
        found = found + losses.kl * forward_kl(student, teacher, losses.temperature)
    if losses.reverse_kl:
        found = found + losses.reverse_kl * reverse_kl(student, teacher)
    if losses.jensen_shannon:
        found = found + losses.jensen_shannon * jensen_shannon(student, teacher, losses.beta)
    if losses.total_variation:
        found = found + losses.total_variation * total_variation(student, teacher)
    if losses.log_acceptance:
        found = found + losses.log_acceptance * negative_log_acceptance(student, teacher)
    if losses.lk:
        found = found + losses.lk * lk(student, teacher, losses.eta)
    return found
