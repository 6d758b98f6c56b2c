"""Speculative sampling: tokens distributed exactly as the main's own samples (Leviathan et al., 2211.17192).

With p the main's distribution and q the draft's, a drafted token x ~ q is kept with probability min(1, p(x) / q(x)).
At the first one that is not, the token comes from norm(max(p - q, 0)); if all are kept, one more comes from p. Either
way its distribution is p: q(x) min(1, p/q) + P(rejected) norm(max(p - q, 0)) = min(p, q) + max(p - q, 0) = p.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Sampling(NamedTuple):
    """How a round with probabilities draws."""

    temperature: float  # 0: the most likely token
    confidence: float | None  # a row's drafting ends after a token that the draft holds less likely than this
    generator: torch.Generator


def distribution(masked: Tensor, temperature: float) -> Tensor:
    """Logits under the rules [..., V] -> probabilities; temperature 0 puts everything on the argmax."""
    if temperature == 0:
        return F.one_hot(masked.argmax(-1), masked.shape[-1]).to(masked.dtype)
    return (masked / temperature).softmax(-1)


def draw(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    """probabilities [B, T, V] -> ids [B, T]"""
    rows = probabilities.flatten(0, -2)
    return torch.multinomial(rows, 1, generator=generator).view(probabilities.shape[:-1])


def accept(
    p: Tensor, q: Tensor, drafts: Tensor, offered: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """p [B, T + 1, V], q [B, T, V], drafts [B, T] of which row b proposes the first offered[b]
    -> how many drafts are kept [B], and the token that follows them [B]."""
    open_ = torch.arange(drafts.shape[1], device=p.device) < offered[:, None]  # [B, T]
    chosen = drafts[..., None]
    likelier = (p[:, :-1].gather(-1, chosen) / q.gather(-1, chosen))[..., 0]
    coins = torch.rand(likelier.shape, device=p.device, generator=generator)
    accepted = ((coins < likelier) & open_).long().cumprod(1).sum(1)  # [B]
    at = accepted[:, None, None].expand(-1, 1, p.shape[-1])
    here = p.gather(1, at)  # [B, 1, V]
    q = F.pad(q * open_[..., None], (0, 0, 0, 1))  # past the last draft q is 0: p itself is left
    left = (here - q.gather(1, at)).clamp(min=0)
    left = torch.where(left.sum(-1, keepdim=True) > 0, left, here)  # p = q: rejected by rounding alone
    return accepted, draw(left, generator)[:, 0]
