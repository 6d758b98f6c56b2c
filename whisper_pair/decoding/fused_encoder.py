"""Whisper's encoder for inference on a GPU: one product for queries, keys and values, and one compiled layer for all.

Weights are arguments of the layer, so that it is compiled once a shape and serves every layer and every encoder of that
shape (regional compilation); a second batch size makes the batch dynamic, so there are three shapes at most. Compiling
takes seconds, so it waits until a process has encoded COMPILE_AFTER windows.
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder, WhisperEncoderLayer

from .compiled import CompiledLayer
from .decoder import affine, joined
from .linear import unpacked, with_packed_linears

COMPILE_AFTER = 512  # windows encoded by a process: some hours of speech, of which compiling is a small part


class EncoderLayer(NamedTuple):
    """One layer's weights and biases."""

    self_norm: tuple[Tensor, Tensor]
    qkv: tuple[Tensor, Tensor]  # fused: [3 d, d], [3 d]
    self_out: tuple[Tensor, Tensor]
    feed_norm: tuple[Tensor, Tensor]
    feed_in: tuple[Tensor, Tensor]
    feed_out: tuple[Tensor, Tensor]


def layer_forward(x: Tensor, layer: EncoderLayer, heads: int, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """x [B, F, d] -> [B, F, d]. Queries are scaled before the product, as transformers does it."""
    batch, frames, width = x.shape
    y = torch.layer_norm(x, (width,), *layer.self_norm)
    query, key, value = F.linear(y, *layer.qkv).view(batch, frames, 3, heads, width // heads).unbind(2)
    query = query * (width // heads) ** -0.5
    query, key, value = (each.transpose(1, 2) for each in (query, key, value))  # [B, H, F, D]
    y = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    x = x + F.linear(y.transpose(1, 2).reshape(batch, frames, width), *layer.self_out)
    y = torch.layer_norm(x, (width,), *layer.feed_norm)
    x = x + F.linear(activation(F.linear(y, *layer.feed_in)), *layer.feed_out)
    if x.dtype == torch.float16:
        most = torch.finfo(x.dtype).max - 1000
        x = x.clamp(-most, most)
    return x


class Compiled:
    """`layer_forward`, compiled once it is worth it. One a process."""

    def __init__(self, after: int = COMPILE_AFTER, backend: str | Callable[..., object] = "inductor"):
        self.after, self.windows = after, 0
        self.layer = CompiledLayer(layer_forward, "an encoder layer", dynamic=None, backend=backend)

    def __call__(
        self, x: Tensor, layers: list[EncoderLayer], heads: int, activation: Callable[[Tensor], Tensor], now: bool
    ) -> Tensor:
        """x through all layers. now: compile without waiting for more windows."""
        self.windows += len(x)
        run = self.layer if now or self.windows > self.after else layer_forward
        for layer in layers:
            x = run(x, layer, heads, activation)
        return x


COMPILED = Compiled()


class FusedEncoder(nn.Module):
    """A WhisperEncoder's weights: the module's own, but for those that are fused, which do not follow its changes."""

    def __init__(self, encoder: WhisperEncoder, compile: bool = False, compiled: Compiled = COMPILED):
        super().__init__()
        config = encoder.config
        self.config, self.heads = config, config.encoder_attention_heads
        self.conv1, self.conv2, self.layer_norm = encoder.conv1, encoder.conv2, encoder.layer_norm
        self.embed_positions = encoder.embed_positions
        gelu = config.activation_function == "gelu"
        self.activation = cast(Callable[[Tensor], Tensor], F.gelu if gelu else ACT2FN[config.activation_function])
        self.fused = [fused(cast(WhisperEncoderLayer, layer)) for layer in encoder.layers]
        self.compile_now, self.compiled = compile, compiled

    @torch.no_grad()
    def forward(self, input_features: Tensor) -> BaseModelOutput:
        """[B, mel, frames] -> last_hidden_state [B, F, d]"""
        x = F.gelu(self.conv2(F.gelu(self.conv1(input_features)))).transpose(1, 2)
        x = (x + self.embed_positions.weight[: x.shape[1]]).contiguous()
        x = self.compiled(x, self.fused, self.heads, self.activation, self.compile_now)
        return BaseModelOutput(last_hidden_state=self.layer_norm(x))


def fused(layer: WhisperEncoderLayer) -> EncoderLayer:
    """The layer's weights, those of one input concatenated."""
    own = layer.self_attn
    weight, bias = joined(own.q_proj, own.k_proj, own.v_proj)
    return EncoderLayer(
        self_norm=affine(layer.self_attn_layer_norm),
        qkv=(unpacked(weight), bias),
        self_out=plain(own.out_proj),
        feed_norm=affine(layer.final_layer_norm),
        feed_in=plain(layer.fc1),
        feed_out=plain(layer.fc2),
    )


def plain(module: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear map."""
    return module.weight.detach(), module.bias.detach()


def for_inference(encoder: WhisperEncoder, compile: bool = False) -> WhisperEncoder:
    """The encoder as it is fastest where its weights are; has an encoder's attributes and parameters. What was packed
    or fused does not follow when they change. compile: at once, on a GPU."""
    if encoder.conv1.weight.device.type == "cuda":
        return cast(WhisperEncoder, FusedEncoder(encoder, compile))
    return with_packed_linears(encoder)
