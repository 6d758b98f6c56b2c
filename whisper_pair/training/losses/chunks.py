"""A loss over the output head, a chunk of the tokens at a time.

Hidden states [tokens, width] of the positions that count (padding already left out) and the output head's weight
[vocabulary, width] give the float32 *sum* over tokens: the training loop divides by the global count. A chunk's logits
are computed, differentiated and dropped before the next chunk's: kept are the gradients of hidden states and head alone
(as in Liger Kernel's fused linear losses, 2410.10989), so the backward pass computes no logits again.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024  # tokens: 1024 x 51866 float32 logits are 212 MB

IGNORE = -100  # a label that does not count


def cross_entropy(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """Sum over tokens of -log p(label), a float32 scalar.

    hidden [tokens, width], head [vocabulary, width], labels [tokens].
    """

    def of_chunk(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(hidden, head).float(), labels, reduction="sum")

    return over_chunks(of_chunk, hidden, head, labels)


def over_chunks(of_chunk: Callable[..., Tensor], hidden: Tensor, head: Tensor, *others: Tensor) -> Tensor:
    """Sum of `of_chunk(hidden rows, head, *rows of the others)` over chunks of CHUNK rows, a float32 scalar.

    hidden [tokens, width], head [vocabulary, width], others [tokens, ...]. Gradients reach hidden and head alone.
    """
    total: Tensor = _OverChunks.apply(of_chunk, hidden, head, *others)  # type: ignore[no-untyped-call]  # torch's own
    return total


class _OverChunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, of_chunk: Callable[..., Tensor], hidden: Tensor, head: Tensor, *others: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad[1:3]
        total = hidden.new_zeros((), dtype=torch.float32)
        gradients = [torch.zeros_like(x) if want else None for x, want in zip((hidden, head), wanted, strict=True)]
        for start in range(0, len(hidden), CHUNK):
            rows = slice(start, start + CHUNK)
            inputs = [hidden[rows].detach(), head.detach()]
            trained = [x.requires_grad_() for x, want in zip(inputs, wanted, strict=True) if want]
            with torch.set_grad_enabled(bool(trained)):
                loss = of_chunk(*inputs, *(other[rows] for other in others))
            total += loss.detach()
            found = iter(torch.autograd.grad(loss, trained) if trained else ())
            if gradients[0] is not None:
                gradients[0][rows] = next(found)
            if gradients[1] is not None:
                gradients[1] += next(found)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if gradient is None else gradient * upstream for gradient in ctx.saved_tensors]
        return None, *scaled, *(None for _ in ctx.needs_input_grad[3:])
