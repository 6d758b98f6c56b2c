"""Attention of few queries, over the keys that a row has (its own length, not the batch's) or over encoder frames.

The keys of a row and head are split among several programs, whose parts are joined by their greatest score and their
sum (flash decoding). With one split there is nothing to join.

Letters in shapes: B rows, T queries, H heads, D head width, S keys, P splits.
"""

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

KEYS = 64  # at once
FRAMES = 256  # encoder frames a program


def plain_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """query [B, T, H, D], key and value [B, S, H, D], mask [B, T, S] added to the scores -> [B, T, H, D]"""
    query, key, value = (each.transpose(1, 2) for each in (query, key, value))
    added = None if mask is None else mask[:, None]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=added).transpose(1, 2)


def attention(
    query: Tensor,  # [B, T, H, D]; of all tensors the last dimension is contiguous
    key: Tensor,  # [B, S, H, D]
    value: Tensor,  # [B, S, H, D], in memory as the keys are
    mask: Tensor | None = None,  # [B, T, S]
    lengths: Tensor | None = None,  # [B] how many of a row's keys any of its queries may see; None: all
    split: int | None = None,  # keys a program; None: all
) -> Tensor:
    """The same in one kernel, or two where keys are split: [B, T, H, D], contiguous."""
    batch, queries, heads, width = query.shape
    keys = key.shape[1]
    split = keys if split is None else split
    parts = triton.cdiv(keys, split)
    result = query.new_empty(batch, queries, heads, width)
    sums = query.new_empty(batch, heads, parts, queries, width + 2, dtype=torch.float32) if parts > 1 else result
    blocks = {
        "BT": max(16, triton.next_power_of_2(queries)), "BD": max(16, triton.next_power_of_2(width)),
    }  # fmt: skip
    none = result  # not read
    attention_kernel[(batch * heads, parts)](
        query, key, value, none if mask is None else mask, none if lengths is None else lengths, result, sums,
        queries, heads, width, keys, split, parts, width**-0.5,
        *query.stride()[:3], *key.stride()[:3], *((0, 0) if mask is None else mask.stride()[:2]),
        MASKED=mask is not None, OWN=lengths is not None, SPLIT=parts > 1, BS=KEYS, **blocks,
    )  # fmt: skip
    if parts > 1:
        join_kernel[(batch * heads,)](
            sums, result, queries, heads, width, parts, BP=triton.next_power_of_2(parts), **blocks
        )
    return result


@triton.jit
def attention_kernel(
    query, key, value, mask, lengths, result, sums,
    T, H, D, S, LENGTH, P, scale,
    query_b, query_t, query_h, key_b, key_s, key_h, mask_b, mask_t,
    MASKED: tl.constexpr, OWN: tl.constexpr, SPLIT: tl.constexpr,
    BS: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """All queries of one row and head, over one split of its keys."""
    row, head, part = tl.program_id(0) // H, tl.program_id(0) % H, tl.program_id(1)
    ts, ds = tl.arange(0, BT), tl.arange(0, BD)
    t_in, d_in = ts < T, ds < D
    inside = t_in[:, None] & d_in[None, :]
    asked = tl.load(
        query + row * query_b + ts[:, None] * query_t + head * query_h + ds[None, :], mask=inside, other=0.0
    )
    end = S
    if OWN:
        end = tl.minimum(tl.load(lengths + row).to(tl.int32), S)
    begin = part * LENGTH
    end = tl.minimum(end, begin + LENGTH)
    most = tl.full((BT,), float("-inf"), tl.float32)
    weight = tl.zeros((BT,), tl.float32)
    total = tl.zeros((BT, BD), tl.float32)
    for at in range(begin, end, BS):
        ss = at + tl.arange(0, BS)
        s_in = ss < end
        places = row * key_b + ss[:, None] * key_s + head * key_h + ds[None, :]
        keys = tl.load(key + places, mask=s_in[:, None] & d_in[None, :], other=0.0)
        values = tl.load(value + places, mask=s_in[:, None] & d_in[None, :], other=0.0)
        scores = tl.dot(asked, tl.trans(keys), input_precision="ieee") * scale
        if MASKED:
            both = t_in[:, None] & s_in[None, :]
            scores += tl.load(mask + row * mask_b + ts[:, None] * mask_t + ss[None, :], mask=both, other=0.0).to(
                tl.float32
            )
        scores = tl.where(s_in[None, :], scores, float("-inf"))
        greater = tl.maximum(most, tl.max(scores, 1))
        base = tl.where(greater == float("-inf"), 0.0, greater)  # of a query that has seen no key yet
        shares = tl.exp(scores - base[:, None])
        fading = tl.exp(most - base)
        weight = weight * fading + tl.sum(shares, 1)
        total = tl.dot(shares.to(values.dtype), values, total * fading[:, None], input_precision="ieee")
        most = greater
    if SPLIT:
        first = sums + ((row * H + head) * P + part) * T * (D + 2) + ts[:, None] * (D + 2)
        tl.store(first + ds[None, :], total, mask=inside)
        tl.store(first + D, most[:, None], mask=t_in[:, None])
        tl.store(first + D + 1, weight[:, None], mask=t_in[:, None])
    else:
        places = ((row * T + ts[:, None]) * H + head) * D + ds[None, :]
        tl.store(result + places, (total / weight[:, None]).to(result.dtype.element_ty), mask=inside)


@triton.jit
def join_kernel(sums, result, T, H, D, P, BP: tl.constexpr, BT: tl.constexpr, BD: tl.constexpr):
    """The splits of one row and head."""
    row, head = tl.program_id(0) // H, tl.program_id(0) % H
    ts, ds, ps = tl.arange(0, BT), tl.arange(0, BD), tl.arange(0, BP)
    inside = (ts < T)[:, None] & (ds < D)[None, :]
    first = sums + tl.program_id(0) * P * T * (D + 2)
    known = (ps < P)[:, None] & (ts < T)[None, :]
    each = first + ps[:, None] * T * (D + 2) + ts[None, :] * (D + 2) + D
    most = tl.max(tl.load(each, mask=known, other=float("-inf")), 0)
    most = tl.where(ts < T, most, 0.0)
    weight = tl.zeros((BT,), tl.float32)
    total = tl.zeros((BT, BD), tl.float32)
    for part in range(P):
        at = first + part * T * (D + 2) + ts * (D + 2)
        share = tl.exp(tl.load(at + D, mask=ts < T, other=0.0) - most)
        weight += share * tl.load(at + D + 1, mask=ts < T, other=0.0)
        total += share[:, None] * tl.load(at[:, None] + ds[None, :], mask=inside, other=0.0)
    places = ((row * T + ts[:, None]) * H + head) * D + ds[None, :]
    tl.store(result + places, (total / weight[:, None]).to(result.dtype.element_ty), mask=inside)
