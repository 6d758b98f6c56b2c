"""The weighted mix of losses that trains an assistant. A chunk's logits are computed once for all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...config import Losses
from .chunks import SummedLoss, over_chunks
from .divergences import (
    forward_kl,
    jensen_shannon,
    lk,
    negative_log_acceptance,
    reverse_kl,
    softened,
    total_variation,
    truncated_cross_entropy,
)

# (log-probabilities of the student, of the teacher), both [tokens, outcomes], softened by a temperature
Outcomes = Callable[[float], tuple[Tensor, Tensor]]
FIRST = 3  # choices of the assistant, as trees of drafts take them
NOTHING = -60.0  # log of a mass that no float32 sum notices; -inf would make 0 x inf


@dataclass(frozen=True)
class WholeTeacher:
    """The teacher's whole distribution, held as the hidden states and the head that it is computed from."""

    hidden: Tensor  # [tokens, teacher width], of any floating type
    head: Tensor  # [vocabulary, teacher width]

    @property
    def rows(self) -> tuple[Tensor, ...]:
        """The tensors [tokens, ...] that `outcomes` takes, which are split into chunks."""
        return (self.hidden,)

    def outcomes(self, student: Tensor, hidden: Tensor) -> Outcomes:
        """Of some of the tokens: each token of the vocabulary is an outcome.

        student [some, vocabulary]: log-probabilities; hidden [some, teacher width].
        """
        with torch.no_grad():
            logits = F.linear(hidden.to(self.head.dtype), self.head).float()

        def at(temperature: float) -> tuple[Tensor, Tensor]:
            teacher = logits if temperature == 1.0 else logits / temperature
            return softened(student, temperature), teacher.log_softmax(-1)

        return at


@dataclass(frozen=True)
class TopKTeacher:
    """The teacher's k most likely tokens, and all others as one outcome with the mass that remains.

    At a temperature T both whole distributions are softened first and their tails joined after: an outcome has the mass
    that softened(p, T) gives it. This needs the teacher's sum over its tail of p^(1/T), which is computed while its
    whole distribution is computed.

    The bias: a divergence over these k + 1 outcomes is never above the one over the vocabulary (data processing), at
    any T. KL falls short by r KL(p' || q'), with r the tail's mass and p', q' the distributions in it, all softened:
    how q spreads the mass of the tail is not learned. On the logits of the k tokens KL's gradient is that of the whole
    distribution. r grows with T: softened, 50 thousand unlikely tokens have much mass together. With k the whole
    vocabulary there is no tail and nothing is lost.
    """

    ids: Tensor  # [tokens, k]
    log_probabilities: Tensor  # [tokens, k]
    rest: Tensor  # [tokens, 2] over the other tokens, log of the sum of p and log of the sum of p^(1/T)
    temperature: float = 1.0  # T

    @classmethod
    def of(cls, log_probabilities: Tensor, k: int, temperature: float = 1.0) -> "TopKTeacher":
        """log_probabilities [tokens, vocabulary]; `temperature`: the one that a softened divergence will use."""
        best = log_probabilities.topk(k, dim=-1)
        others = log_probabilities.scatter(-1, best.indices, -torch.inf)
        rest = torch.stack([others.logsumexp(-1), (others / temperature).logsumexp(-1)], dim=-1)
        return cls(best.indices, best.values, rest.clamp(min=NOTHING), temperature)

    @property
    def rows(self) -> tuple[Tensor, ...]:
        """The tensors [tokens, ...] that `outcomes` takes, which are split into chunks."""
        return self.ids, self.log_probabilities, self.rest

    def outcomes(self, student: Tensor, ids: Tensor, best: Tensor, rest: Tensor) -> Outcomes:
        """Of some of the tokens: the k most likely and the rest, at the temperature 1 or T.

        student [some, vocabulary]: log-probabilities; ids, best [some, k]; rest [some, 2].
        """
        ids, best = ids.long(), best.float()
        ours = student.gather(-1, ids)
        if ids.shape[-1] == student.shape[-1]:
            return lambda temperature: (softened(ours, temperature), softened(best, temperature))
        others = student.scatter(-1, ids, -torch.inf)

        def at(temperature: float) -> tuple[Tensor, Tensor]:
            theirs = rest[:, {1.0: 0, self.temperature: 1}[temperature], None]
            tail = (others / temperature).logsumexp(-1, keepdim=True)  # not log(1 - sum), which rounds
            pair = torch.cat([ours / temperature, tail], dim=-1), torch.cat([best / temperature, theirs], dim=-1)
            return pair[0].log_softmax(-1), pair[1].log_softmax(-1)

        return at


# Weights in Losses, in the order in which parts are summed.
MIXED = (
    "cross_entropy", "first_three", "kl", "reverse_kl", "jensen_shannon", "total_variation", "log_acceptance", "lk"
)  # fmt: skip

TeacherTargets = WholeTeacher | TopKTeacher  # what the student learns of the teacher's distribution at each token


def mixed_loss(
    hidden: Tensor,
    head: Tensor,
    labels: Tensor,
    teacher: TeacherTargets,
    losses: Losses,
    weights: Tensor | None = None,
) -> SummedLoss:
    """Sum over tokens of the weighted losses, with the parts named as in Losses; no gradient reaches the teacher.

    hidden [tokens, width], head [vocabulary, width], labels [tokens]; weights [tokens]: a factor on each token's loss,
    None: 1.
    """

    names = [name for name in MIXED if getattr(losses, name)]

    def of_chunk(hidden: Tensor, head: Tensor, labels: Tensor, weights: Tensor, *rows: Tensor) -> Tensor:
        student = F.log_softmax(F.linear(hidden, head).float(), dim=-1)
        found = divergences(teacher.outcomes(student, *rows), losses)
        if losses.cross_entropy:
            found["cross_entropy"] = losses.cross_entropy * F.nll_loss(student, labels, reduction="none")
        if losses.first_three:
            found["first_three"] = losses.first_three * truncated_cross_entropy(student, labels, FIRST)
        return torch.stack([(found[name] * weights).sum() for name in names])

    weights = hidden.new_ones(len(hidden), dtype=torch.float32) if weights is None else weights
    total, parts = over_chunks(of_chunk, len(names), hidden, head, labels, weights, *teacher.rows)
    return SummedLoss(total, dict(zip(names, parts, strict=True)))


def divergences(outcomes: Outcomes, losses: Losses) -> dict[str, Tensor]:
    """The weighted divergences of the mix, by name, each [tokens]."""
    found = {}
    if losses.kl:
        found["kl"] = losses.kl * losses.temperature**2 * forward_kl(*outcomes(losses.temperature))
    if losses.unsoftened:
        student, teacher = outcomes(1.0)
        if losses.reverse_kl:
            found["reverse_kl"] = losses.reverse_kl * reverse_kl(student, teacher)
        if losses.jensen_shannon:
            found["jensen_shannon"] = losses.jensen_shannon * jensen_shannon(student, teacher, losses.beta)
        if losses.total_variation:
            found["total_variation"] = losses.total_variation * total_variation(student, teacher)
        if losses.log_acceptance:
            found["log_acceptance"] = losses.log_acceptance * negative_log_acceptance(student, teacher)
        if losses.lk:
            found["lk"] = losses.lk * lk(student, teacher, losses.eta)
    return found
