"""Weights that follow the rounds of speculation.

A round starts after each token that the main produced itself, and a draft counts only if all drafts before it in its
round were accepted. So with d_t the tokens since the last mismatch, d_t = 0 right after one, position t matters as
draft d_t + 1 of a round, and its loss is weighted by decay^d_t. DFlash (2602.06036) lets weights decay like this along
a drafted block; here the block is what the student itself would have had accepted.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import chunks


def mismatch_weights(agrees: Tensor, starts: Tensor, decay: float) -> Tensor:
    """Weights [tokens], of mean 1.

    agrees [tokens], bool: the student's most likely token is the label; starts [tokens], bool: a row begins here;
    decay: weight of each further token since the last mismatch, above 0, up to 1.
    """
    place = torch.arange(len(agrees), device=agrees.device)
    after_mismatch = torch.cat([starts[:1], ~agrees[:-1]])
    last = torch.where(starts | after_mismatch, place, 0).cummax(0).values
    weights = decay ** (place - last).float()
    return weights / weights.mean().clamp(min=torch.finfo(weights.dtype).tiny)


@torch.no_grad()
def top_tokens(hidden: Tensor, head: Tensor) -> Tensor:
    """The most likely tokens [tokens], in chunks of logits. hidden [tokens, width], head [vocabulary, width]."""
    return torch.cat([F.linear(part, head).argmax(-1) for part in torch.split(hidden, chunks.CHUNK)])
