"""A linear map of few tokens with what stands around it in a decoder layer: norm before it, GELU or residual after it.

At batch 1 a step is as fast as its weights are read, and each small kernel around a product waits for the one before.
Every program owns some outputs and reads their weights once; it normalizes the tokens itself, for they are few.

Letters in shapes: M tokens, K inputs, N outputs.
"""

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

EPSILON = 1e-5  # of Whisper's norms
ROWS = 16  # tokens a program: the least that a tensor core takes
OUTPUTS, INPUTS = 16, 128  # of a program, and at once


def plain_linear(
    x: Tensor,  # [M, K]
    weight: Tensor,  # [N, K]
    bias: Tensor,  # [N]
    norm: tuple[Tensor, Tensor] | None = None,  # weight and bias of a layer norm: [K] twice
    gelu: bool = False,
    residual: Tensor | None = None,  # [M, N]
) -> Tensor:
    """[M, N]"""
    if norm is not None:
        x = torch.layer_norm(x, (x.shape[1],), *norm, EPSILON)
    y = F.linear(x, weight, bias)
    y = F.gelu(y) if gelu else y
    return y if residual is None else residual + y


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    norm: tuple[Tensor, Tensor] | None = None,
    gelu: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """The same in one kernel. x, weight and residual are contiguous."""
    (tokens, inputs), outputs = x.shape, len(weight)
    result = x.new_empty(tokens, outputs)
    gain, shift = norm or (bias, bias)  # not read without a norm
    grid = (triton.cdiv(outputs, OUTPUTS), triton.cdiv(tokens, ROWS))
    linear_kernel[grid](
        x, weight, bias, gain, shift, result if residual is None else residual, result, tokens, outputs, inputs,
        NORM=norm is not None, GELU=gelu, RESIDUAL=residual is not None,
        EPS=EPSILON, BM=ROWS, BN=OUTPUTS, BK=INPUTS,
    )  # fmt: skip
    return result


@triton.jit
def linear_kernel(
    x, weight, bias, gain, shift, residual, result, M, N, K,
    NORM: tl.constexpr, GELU: tl.constexpr, RESIDUAL: tl.constexpr,
    EPS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The outputs [BM, BN] of a program."""
    rows = tl.program_id(1) * BM + tl.arange(0, BM)
    outputs = tl.program_id(0) * BN + tl.arange(0, BN)
    row_in, output_in = rows < M, outputs < N
    mean = tl.zeros((BM,), tl.float32)
    scale = tl.zeros((BM,), tl.float32)
    if NORM:
        for k in range(0, K, BK):
            ks = k + tl.arange(0, BK)
            inside = row_in[:, None] & (ks < K)[None, :]
            mean += tl.sum(tl.load(x + rows[:, None] * K + ks[None, :], mask=inside, other=0.0).to(tl.float32), 1)
        mean = mean / K
        for k in range(0, K, BK):
            ks = k + tl.arange(0, BK)
            inside = row_in[:, None] & (ks < K)[None, :]
            values = tl.load(x + rows[:, None] * K + ks[None, :], mask=inside, other=0.0).to(tl.float32)
            values = tl.where(inside, values - mean[:, None], 0.0)
            scale += tl.sum(values * values, 1)
        scale = 1 / tl.sqrt(scale / K + EPS)
    total = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        ks = k + tl.arange(0, BK)
        k_in = ks < K
        values = tl.load(x + rows[:, None] * K + ks[None, :], mask=row_in[:, None] & k_in[None, :], other=0.0)
        weights = tl.load(
            weight + outputs[:, None] * K + ks[None, :], mask=output_in[:, None] & k_in[None, :], other=0.0
        )
        if NORM:
            gains = tl.load(gain + ks, mask=k_in, other=0.0).to(tl.float32)
            shifts = tl.load(shift + ks, mask=k_in, other=0.0).to(tl.float32)
            normed = (values.to(tl.float32) - mean[:, None]) * scale[:, None] * gains[None, :] + shifts[None, :]
            values = normed.to(weights.dtype)  # zero past K, where gains and shifts are
        total = tl.dot(values, tl.trans(weights), total, input_precision="ieee")
    total += tl.load(bias + outputs, mask=output_in, other=0.0).to(tl.float32)[None, :]
    if GELU:
        total = 0.5 * total * (1 + tl.erf(total * 0.7071067811865476))
    places = rows[:, None] * N + outputs[None, :]
    inside = row_in[:, None] & output_in[None, :]
    if RESIDUAL:
        total += tl.load(residual + places, mask=inside, other=0.0).to(tl.float32)
    tl.store(result + places, total.to(result.dtype.element_ty), mask=inside)
