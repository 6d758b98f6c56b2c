"""Linear maps for inference. On the CPU oneDNN computes them, over weights that were rearranged once into its blocks.

PyTorch gives float32 products to the BLAS that it was built with, which rearranges the weights at every call or,
for a few rows, reads them once a row; bfloat16 ones go to oneDNN, which rearranges them too (a step of
whisper-base then takes four times as long). Over blocks, a step takes about the time of reading its weights, for one
token as for six: what makes verifying drafts nearly free on a GPU then holds on a CPU too. (`verification` in
benchmarks/results/decoding-cpu.json.) The operators are those that Inductor uses for frozen weights. The price is a
second copy of each weight that is used so.
"""

import copy
from collections.abc import Callable
from functools import cached_property, partial
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 64  # tokens that the layout is chosen for; one for a single row would be a poor one for more, not so in reverse
WORTH = 1 << 18  # multiplications; for less the operator's own fixed cost, some microseconds, is not won back


class Packed:
    """A weight [N, K], and the same in oneDNN's blocks once they are needed."""

    def __init__(self, weight: Tensor):
        self.weight = weight
        self.least = WORTH // len(weight)  # elements of the input

    @cached_property
    def blocks(self) -> Tensor:
        """The weight in oneDNN's layout, made at its first use."""
        return cast(Tensor, torch.ops.mkldnn._reorder_linear_weight(self.weight, ROWS))

    def linear(self, x: Tensor, bias: Tensor | None, gelu: bool = False) -> Tensor:
        """x [..., K] -> [..., N]"""
        if x.numel() < self.least:
            y = F.linear(x, self.weight, bias)
            return F.gelu(y) if gelu else y
        form = "gelu" if gelu else "none"
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, self.blocks, bias, form, [], "none"))


Weight = Tensor | Packed
Module = TypeVar("Module", bound=torch.nn.Module)


def packed(weight: Tensor) -> Weight:
    """Ready for `linear`: packed where that is faster."""
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's own stub
    worth = weight.device.type == "cpu" and has_onednn and _known_to_onednn(weight.dtype)
    return Packed(weight) if worth else weight


def _known_to_onednn(dtype: torch.dtype) -> bool:
    half = dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 or half


def unpacked(weight: Weight) -> Tensor:
    """The plain weight [N, K]."""
    return weight.weight if isinstance(weight, Packed) else weight


def linear(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """x [..., K] -> x W^T + bias: [..., N]"""
    return weight.linear(x, bias) if isinstance(weight, Packed) else F.linear(x, weight, bias)


def activated(activation: Callable[[Tensor], Tensor], x: Tensor, weight: Weight, bias: Tensor) -> Tensor:
    """activation(x W^T + b), in one where that can be."""
    if activation is F.gelu and isinstance(weight, Packed):
        return weight.linear(x, bias, gelu=True)
    return activation(linear(x, weight, bias))


def at_once(windows: Tensor) -> int:
    """How many encoder windows to run together. One keeps a CPU's cores busy, and its memory is handed from layer to
    layer, where that of several would come from the system again each time."""
    return 1 if windows.device.type == "cpu" else len(windows)


def with_packed_linears(module: Module, pack: bool = True) -> Module:
    """The module for inference: without dropout whatever the module's own mode, its linear layers packed (which a
    compiler cannot take).

    Parameters are shared. What was packed does not follow when they change.
    """
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    found = copy.deepcopy(module, shared).eval()
    for part in found.modules():
        if pack and type(part) is torch.nn.Linear and isinstance(weight := packed(part.weight.detach()), Packed):
            setattr(part, "forward", partial(forward, weight, part.bias))  # noqa: B010 (a method, to a type checker)
    return found


def forward(weight: Packed, bias: Tensor | None, x: Tensor) -> Tensor:
    """Under autocast, which cannot use packed weights, as autocast computes it."""
    return F.linear(x, weight.weight, bias) if torch.is_autocast_enabled("cpu") else weight.linear(x, bias)
