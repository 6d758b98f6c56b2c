"""One forward of Whisper's text decoder over Hugging Face weights, for batches whose rows are at different lengths.

Each row writes its keys and values in the slots of its own positions in a preallocated cache and sees only keys at
positions up to its own. So a rejected draft needs no cropping: its keys and values are past the row's length
and are overwritten before they are ever attended to. Cross-attention keys and values are computed once a window.

Letters in shapes: B rows, T tokens fed, L cache positions, H heads, D head width, d = H D, F encoder frames.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.activations import ACT2FN
from transformers.models.whisper.modeling_whisper import WhisperDecoder, WhisperDecoderLayer

from ..errors import InputError
from .compiled import CompiledLayer
from .kv_cache import SPARE_SLOTS, Cross, Keys, KVCache
from .linear import Weight, activated, at_once, linear, packed, unpacked


class FusedLayer(NamedTuple):
    """One decoder layer's weights and biases: the module's own tensors, except those that are fused."""

    self_norm: tuple[Tensor, Tensor]
    qkv: tuple[Weight, Tensor]  # fused: [3 d, d], [3 d]
    self_out: tuple[Weight, Tensor]
    cross_norm: tuple[Tensor, Tensor]
    cross_query: tuple[Weight, Tensor]
    cross_key_value: tuple[Weight, Tensor]  # fused: [2 d, d], [2 d]
    cross_out: tuple[Weight, Tensor]
    feed_norm: tuple[Tensor, Tensor]
    feed_in: tuple[Weight, Tensor]
    feed_out: tuple[Weight, Tensor]

    def plain(self) -> "FusedLayer":
        """With nothing but tensors, for a compiler."""
        return FusedLayer(*((unpacked(weight), bias) for weight, bias in self))


def layer_forward(
    x: Tensor,  # [B, T, d]
    layer: FusedLayer,
    heads: int,
    activation: Callable[[Tensor], Tensor],
    cached: tuple[Tensor, Tensor] | None,  # this layer's cache [capacity L, 2 d], and the fed tokens' slots in it [B T]
    positions: int,  # L
    mask: Tensor | None,  # [B, 1, T, keys], added to the scores of the cached keys; None: attend to the fed tokens only
    cross: Cross,  # [B, H, F, D] twice, and what is added to the scores
) -> Tensor:
    """x -> [B, T, d]"""
    batch, length, width = x.shape
    norm = (width,)
    split = (batch, length, heads, width // heads)

    y = torch.layer_norm(x, norm, *layer.self_norm)
    qkv = linear(y, *layer.qkv)  # [B, T, 3 d]
    query, fresh = qkv[..., :width], qkv[..., width:]
    query = query.view(split).transpose(1, 2)
    if cached is not None:
        cache, slots = cached
        cache.index_copy_(0, slots, fresh.view(batch * length, 2 * width))
    if cached is not None and mask is not None:
        rows = cache.view(-1, positions, 2, heads, width // heads)
        seen = rows.narrow(0, 0, batch).narrow(1, 0, mask.shape[-1])  # [B, keys, 2, H, D]
        key, value = seen.transpose(1, 3).unbind(2)  # [B, H, keys, D]
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    else:
        key, value = fresh.view(batch, length, 2, heads, -1).transpose(1, 3).unbind(2)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=length > 1)
    x = x + linear(y.transpose(1, 2).reshape(batch, length, width), *layer.self_out)

    y = torch.layer_norm(x, norm, *layer.cross_norm)
    query = linear(y, *layer.cross_query).view(split).transpose(1, 2)
    y = F.scaled_dot_product_attention(query, *cross)
    x = x + linear(y.transpose(1, 2).reshape(batch, length, width), *layer.cross_out)

    y = torch.layer_norm(x, norm, *layer.feed_norm)
    return x + linear(activated(activation, y, *layer.feed_in), *layer.feed_out)


class Branches(NamedTuple):
    """Where fed tokens go in the cache, and what they see there, when they are not one line of text."""

    slots: Tensor  # [B, T]
    mask: Tensor  # [B, T, key_length], added to the scores of the keys in all slots


class Decoder:
    """A WhisperDecoder's weights with two ways through them: `read` (whole rows at once) and `step` (cached)."""

    def __init__(self, module: WhisperDecoder, head: Tensor, like: "Decoder | None" = None):
        config = module.config
        self.heads = config.decoder_attention_heads
        self.width = config.d_model
        self.max_length = config.max_target_positions
        self.positions = config.max_target_positions + SPARE_SLOTS  # L
        self.activation = F.gelu if config.activation_function == "gelu" else ACT2FN[config.activation_function]
        self.dtype, self.device = head.dtype, head.device
        self.norm = affine(module.layer_norm)
        self.embeddings = module.embed_tokens.weight.detach()  # [vocabulary, d]
        self.head = packed(head.detach())  # [vocabulary, d]
        if like is not None:  # an assistant that kept the main's embeddings needs no copy of its own
            self.embeddings = like.embeddings if same(self.embeddings, like.embeddings) else self.embeddings
            self.head = like.head if same(unpacked(self.head), unpacked(like.head)) else self.head
        positions = module.embed_positions.weight.detach()
        self.position_embeddings = F.pad(positions, (0, 0, 0, SPARE_SLOTS))  # [L, d]
        ahead = torch.ones(self.positions, self.positions, dtype=torch.bool, device=self.device).triu(1)
        self.causal = torch.zeros(ahead.shape, dtype=self.dtype, device=self.device).masked_fill(ahead, -torch.inf)
        self.layers = [fused(cast(WhisperDecoderLayer, layer)) for layer in module.layers]
        self.run_layer: Callable[..., Tensor] = layer_forward

    def compile(self, backend: str = "inductor") -> None:
        """Compile the cached step: one layer, once a shape, serves them all, those of other decoders too."""
        self.layers, self.head = [layer.plain() for layer in self.layers], unpacked(self.head)
        self.run_layer = compiled_layer(backend)

    def use_kernels(self) -> None:
        """Run the cached step in Triton kernels of our own. Raises InputError where they cannot run."""
        try:
            from . import kernels
        except ImportError as error:
            raise InputError(f"kernels=True needs Triton ({error}): pip install triton") from None
        if not kernels.run_on(self.device):
            raise InputError(
                f"kernels=True needs a model on a CUDA GPU, and this one is on {self.device}: leave it out"
            )
        self.run_layer = kernels.layer_forward

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """tokens, positions [B, T] -> [B, T, d]"""
        return torch.embedding(self.embeddings, tokens) + torch.embedding(self.position_embeddings, positions)

    def cross(self, states: Tensor, into: list[Cross] | None = None) -> list[Cross]:
        """states [R, F, d] -> each layer's cross-attention keys and values [R, H, F, D]; into: where to write them."""
        rows, frames, _ = states.shape
        states = states.to(self.dtype)
        if into is None:
            shape = (len(self.layers), 2, rows, self.heads, frames, self.width // self.heads)
            into = [(layer[0], layer[1], None) for layer in states.new_empty(shape)]
        size = at_once(states)
        for layer, (keys, values, _) in zip(self.layers, into, strict=True):
            for first in range(0, rows, size):
                some = states[first : first + size]
                both = linear(some, *layer.cross_key_value).view(len(some), frames, 2, self.heads, -1)
                keys[first : first + size] = both[:, :, 0].transpose(1, 2)
                values[first : first + size] = both[:, :, 1].transpose(1, 2)
        return into

    def causal_mask(self, positions: Tensor, key_length: int) -> Tensor:
        """positions [B, T] -> what is added to the scores of the keys in all slots: [B, T, key_length]."""
        return torch.embedding(self.causal, positions)[..., :key_length]

    def read(self, tokens: Tensor, cross: list[Cross], cache: KVCache | None = None, first: int = 0) -> Tensor:
        """Rows from their first token on, in one causal pass: tokens [R, T] -> hidden [R, T, d].

        With a cache, keys and values are kept in its rows from `first` on. Tokens are padded on the right with any
        token: the padding is never attended to.
        """
        rows, length = tokens.shape
        positions = torch.arange(length, device=tokens.device).expand(rows, length)
        x = self.embed(tokens, positions)
        slots = None if cache is None else (cache.row_starts[first : first + rows] + positions).view(-1)
        for index, layer in enumerate(self.layers):
            cached = None if cache is None or slots is None else (cache.layers[index], slots)
            x = layer_forward(x, layer, self.heads, self.activation, cached, self.positions, None, cross[index])
        return torch.layer_norm(x, (self.width,), *self.norm)

    def step(
        self, cache: KVCache, tokens: Tensor, positions: Tensor, keys: Keys, branches: "Branches | None" = None
    ) -> Tensor:
        """The cache's first B rows, each at its own positions: tokens, positions [B, T] -> hidden [B, T, d].

        Without branches a token's slot is its position.
        """
        batch = tokens.shape[0]
        x = self.embed(tokens, positions)
        slots, mask = branches or (positions, self.causal_mask(positions, keys.own))
        slots, mask = (slots + cache.row_starts[:batch]).view(-1), mask[:, None]
        fixed = self.heads, self.activation
        for layer, cached, cross in zip(self.layers, cache.layers, cache.cross_views(batch, keys=keys), strict=True):
            x = self.run_layer(x, layer, *fixed, (cached, slots), self.positions, mask, cross)
        return torch.layer_norm(x, (self.width,), *self.norm)


@cache
def compiled_layer(backend: str) -> CompiledLayer:
    """`layer_forward`, compiled: one for all decoders of the process."""
    return CompiledLayer(layer_forward, "a decoder layer", backend=backend)


def same(one: Tensor, other: Tensor) -> bool:
    """Are they the same values of one type on one device?"""
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


def affine(module: torch.nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Weight and bias of a normalization."""
    return module.weight.detach(), module.bias.detach()


def alone(module: torch.nn.Linear) -> tuple[Weight, Tensor]:
    """Weight and bias of a linear map."""
    return packed(module.weight.detach()), module.bias.detach()


def joined(*modules: torch.nn.Linear) -> tuple[Weight, Tensor]:
    """Several linear maps of one input as one; Whisper's key projection has no bias."""
    weight = torch.cat([module.weight.detach() for module in modules])
    none = weight.new_zeros(weight.shape[1])
    return packed(weight), torch.cat([none if module.bias is None else module.bias.detach() for module in modules])


def fused(layer: WhisperDecoderLayer) -> FusedLayer:
    """The layer's weights, those of one input concatenated."""
    own, cross = layer.self_attn, layer.encoder_attn
    return FusedLayer(
        self_norm=affine(layer.self_attn_layer_norm),
        qkv=joined(own.q_proj, own.k_proj, own.v_proj),
        self_out=alone(own.out_proj),
        cross_norm=affine(layer.encoder_attn_layer_norm),
        cross_query=alone(cross.q_proj),
        cross_key_value=joined(cross.k_proj, cross.v_proj),
        cross_out=alone(cross.out_proj),
        feed_norm=affine(layer.final_layer_norm),
        feed_in=alone(layer.fc1),
        feed_out=alone(layer.fc2),
    )
