"""Training losses that never hold [tokens, vocabulary] for more than a chunk of the tokens.

Each takes hidden states [tokens, width] of the positions that count (padding already left out) and the output head's
weight [vocabulary, width], and returns the float32 *sum* over tokens: the training loop divides by the global count.
A chunk's logits are computed, used and dropped, and computed again in the backward pass.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK = 1024  # tokens: 1024 x 51866 float32 logits are 212 MB

IGNORE = -100  # a label that is not counted


def cross_entropy(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """Sum over tokens of -log p(label). hidden [tokens, width], labels [tokens]."""

    def of_chunk(hidden: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(hidden, head).float(), labels, reduction="sum")

    return _over_chunks(of_chunk, hidden, labels)


def forward_kl(
    hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor, temperature: float = 1.0
) -> Tensor:
    """Sum over tokens of T^2 KL(teacher || student), both softened by T (Hinton et al., 1503.02531).

    hidden [tokens, width], teacher_hidden [tokens, teacher width]; no gradient reaches the teacher.
    """

    def of_chunk(hidden: Tensor, teacher_hidden: Tensor) -> Tensor:
        with torch.no_grad():
            teacher = F.log_softmax(F.linear(teacher_hidden, teacher_head).float() / temperature, dim=-1)
        student = F.log_softmax(F.linear(hidden, head).float() / temperature, dim=-1)
        return F.kl_div(student, teacher, reduction="sum", log_target=True) * temperature**2

    return _over_chunks(of_chunk, hidden, teacher_hidden)


def _over_chunks(of_chunk: Callable[[Tensor, Tensor], Tensor], hidden: Tensor, other: Tensor) -> Tensor:
    total = hidden.new_zeros((), dtype=torch.float32)
    for start in range(0, len(hidden), CHUNK):
        rows = slice(start, start + CHUNK)
        total = total + checkpoint(of_chunk, hidden[rows], other[rows], use_reentrant=False)
    return total
