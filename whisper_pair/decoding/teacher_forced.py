"""What a model would choose at every position of given tokens: one parallel pass, under the same rules."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .decoder import Decoder
from .logits_rules import TokenHistory
from .model_state import Head

POSITIONS_AT_ONCE = 4096  # bounds the logits: [that many, vocabulary]


def choices(
    decoder: Decoder,
    head: Head,
    states: Tensor | Sequence[Tensor],  # encoder states, [F, d] a row
    prefixes: Sequence[Sequence[int]],
    tokens: Sequence[Sequence[int]],  # after the prefix
) -> list[list[int]]:
    """Row by row, the likeliest allowed token at each position of `tokens`, given the ones before it."""
    result: list[list[int]] = [[] for _ in tokens]
    lengths = [len(prefix) + len(row) - 1 for prefix, row in zip(prefixes, tokens, strict=True)]  # what is fed
    for rows in batches(lengths):
        longest = max(lengths[row] for row in rows)
        padded = [([*prefixes[row], *tokens[row]][: lengths[row]] + [0] * (longest - lengths[row])) for row in rows]
        fed = torch.tensor(padded, device=decoder.device)  # [R, T]
        cross = decoder.cross(torch.stack([states[row] for row in rows]).to(decoder.device))
        first = min(len(prefixes[row]) for row in rows) - 1  # no row decodes before this position
        hidden = decoder.read(fed, cross)[:, first:]
        starts = torch.tensor([[len(prefixes[row])] for row in rows], device=decoder.device)
        before = fed[:, max(first - 1, 0) : max(first - 1, 0) + 1]
        history = TokenHistory(torch.cat([before, fed[:, first:]], 1), first + 1 - starts, torch.full_like(starts, -1))
        chosen = head.choose(hidden, history).tolist()
        for row, choices in zip(rows, chosen, strict=True):
            at = len(prefixes[row]) - 1 - first
            result[row] = choices[at : at + len(tokens[row])]
    return result


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows of like length together, as many as the bound on positions allows; longest first: memory peaks at once."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > POSITIONS_AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
