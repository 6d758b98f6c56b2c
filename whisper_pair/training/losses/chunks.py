"""A loss over the output head, a chunk of the tokens at a time.

Hidden states [tokens, width] of the positions that count (padding already left out) and the output head's weight
[vocabulary, width] give the float32 *sum* over tokens: the training loop divides by the global count. A chunk's logits
are computed, differentiated and dropped before the next chunk's: kept are the gradients of hidden states and head alone
(as in Liger Kernel's fused linear losses, 2410.10989), so the backward pass computes no logits again.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024  # tokens: 1024 x 51866 float32 logits are 212 MB

IGNORE = -100  # a label that does not count


class SummedLoss(NamedTuple):
    """What a training module returns: losses summed over tokens, float32 scalars."""

    total: Tensor  # what is differentiated
    parts: Mapping[str, Tensor] = {}  # what it is the sum of, by name, without gradients; empty: of itself alone


def cross_entropy(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """Sum over tokens of -log p(label), a float32 scalar.

    hidden [tokens, width], head [vocabulary, width], labels [tokens].
    """

    def of_chunk(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(hidden, head).float(), labels, reduction="sum")[None]

    return over_chunks(of_chunk, 1, hidden, head, labels)[0]


def over_chunks(
    of_chunk: Callable[..., Tensor], parts: int, hidden: Tensor, head: Tensor, *others: Tensor
) -> tuple[Tensor, Tensor]:
    """Sums `of_chunk(hidden rows, head, *rows of the others)`, which is [parts], over chunks of CHUNK rows.

    hidden [tokens, width], head [vocabulary, width], others [tokens, ...]. Returns the sum of all parts, whose gradient
    reaches hidden and head alone, and the parts [parts], which have none; both float32.
    """
    found: tuple[Tensor, Tensor] = _OverChunks.apply(of_chunk, parts, hidden, head, *others)  # type: ignore[no-untyped-call]  # torch's own
    return found


class _OverChunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, of_chunk: Callable[..., Tensor], parts: int, hidden: Tensor, head: Tensor, *others: Tensor
    ) -> tuple[Tensor, Tensor]:
        wanted = ctx.needs_input_grad[2:4]
        sums = hidden.new_zeros(parts, dtype=torch.float32)
        gradients = [torch.zeros_like(x) if want else None for x, want in zip((hidden, head), wanted, strict=True)]
        for start in range(0, len(hidden), CHUNK):
            rows = slice(start, start + CHUNK)
            inputs = [hidden[rows].detach(), head.detach()]
            trained = [x.requires_grad_() for x, want in zip(inputs, wanted, strict=True) if want]
            with torch.set_grad_enabled(bool(trained)):
                losses = of_chunk(*inputs, *(other[rows] for other in others))
                loss = losses.sum()
            sums += losses.detach()
            found = iter(torch.autograd.grad(loss, trained) if trained else ())
            if gradients[0] is not None:
                gradients[0][rows] = next(found)
            if gradients[1] is not None:
                gradients[1] += next(found)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(sums)
        return sums.sum(), sums

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if gradient is None else gradient * upstream for gradient in ctx.saved_tensors]
        return None, None, *scaled, *(None for _ in ctx.needs_input_grad[4:])
