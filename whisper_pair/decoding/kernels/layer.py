"""A decoder layer's cached step in these kernels: seven launches and two for its caches, where PyTorch has about
eighteen. Its plain twin is `decoder.layer_forward`."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from ..decoder import FusedLayer
from ..kv_cache import Cross
from ..linear import Weight, unpacked
from .attention import FRAMES, attention
from .linear import linear


def layer_forward(
    x: Tensor,  # [B, T, d]
    layer: FusedLayer,
    heads: int,
    activation: Callable[[Tensor], Tensor],
    cached: tuple[Tensor, Tensor],  # this layer's cache [capacity L, 2 d], and the fed tokens' slots in it [B T]
    positions: int,  # L
    mask: Tensor,  # [B, 1, T, keys]
    cross: Cross,  # [B, H, F, D] twice, and what is added to the scores
) -> Tensor:
    """x -> [B, T, d]"""
    batch, length, width = x.shape
    x = x.reshape(batch * length, width)
    gelu = activation is F.gelu

    qkv = product(x, layer.qkv, norm=layer.self_norm)  # [B T, 3 d]
    cache, slots = cached
    cache.index_copy_(0, slots, qkv[:, width:])
    seen = cache.view(-1, positions, 2, heads, width // heads)[:batch, : mask.shape[-1]]  # [B, keys, 2, H, D]
    query = qkv.view(batch, length, 3, heads, -1)[:, :, 0]
    lengths = slots.view(batch, length).amax(1) % positions + 1
    y = attention(query, seen[:, :, 0], seen[:, :, 1], mask[:, 0], lengths)
    x = product(y.view(batch * length, width), layer.self_out, residual=x)

    query = product(x, layer.cross_query, norm=layer.cross_norm).view(batch, length, heads, -1)
    keys, values, bias = cross
    hidden = None if bias is None else bias[:, 0].expand(-1, length, -1)  # [B, T, F]
    y = attention(query, keys.transpose(1, 2), values.transpose(1, 2), hidden, split=FRAMES)
    x = product(y.view(batch * length, width), layer.cross_out, residual=x)

    y = product(x, layer.feed_in, norm=layer.feed_norm, gelu=gelu)
    return product(y if gelu else activation(y), layer.feed_out, residual=x).view(batch, length, width)


def product(
    x: Tensor,
    weights: tuple[Weight, Tensor],
    norm: tuple[Tensor, Tensor] | None = None,
    gelu: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """`linear` by one of a layer's maps."""
    weight, bias = weights
    return linear(x, unpacked(weight), bias, norm, gelu, residual)
