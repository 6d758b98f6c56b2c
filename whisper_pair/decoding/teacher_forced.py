"""What a model would choose at every position of given tokens: one parallel pass, under the same rules."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from .decoder import Decoder
from .logits_rules import TokenHistory
from .model_state import Head

POSITIONS_AT_ONCE = 4096  # bounds the logits: [that many, vocabulary]
RANKED_AT_ONCE = 512  # the same where they are compared in float32

# hidden [R, T, d], history, the token that follows each position [R, T] -> what is asked for [R, T, ...]
Read = Callable[[Tensor, TokenHistory, Tensor], Tensor]


def choices(head: Head) -> Read:
    """Reads the model's choice at each position: the most likely allowed token."""
    return lambda hidden, history, _: head.choose(hidden, history)


def ranks(head: Head) -> Read:
    """Reads at each position the rank of the token that follows among the model's choices (0: its first), the rank of
    the end of the text, and the first choice itself: [R, T, 3]. What the rules forbid, or the head lacks, ranks last.
    """

    def read(hidden: Tensor, history: TokenHistory, following: Tensor) -> Tensor:
        size = len(head.rules.bias)
        found = []
        at_once = max(1, RANKED_AT_ONCE // len(hidden))
        for at in range(0, hidden.shape[1], at_once):
            part = slice(at, at + at_once)
            its = TokenHistory(*(each[:, part] if each.shape[1] > 1 else each for each in history))
            masked = head.rules.mask(head.logits(hidden[:, part]), its)  # [R, T, K]
            end = torch.full_like(following[:, part], head.rules.end)
            token_rank, end_rank = (rank_of(masked, each, head, size) for each in (following[:, part], end))
            found.append(torch.stack([token_rank, end_rank, first_choice(masked, head)], -1))
        return torch.cat(found, 1)

    return read


def first_choice(masked: Tensor, head: Head) -> Tensor:
    """masked [R, T, K] -> the token ids of the greatest logits [R, T]."""
    index = masked.argmax(-1)
    return index if head.rules.vocabulary is None else head.rules.vocabulary[index]


def rank_of(masked: Tensor, tokens: Tensor, head: Head, last: int) -> Tensor:
    """masked [R, T, K], tokens [R, T] -> how many logits are greater, or equal with a lower index: [R, T]; `last` for a
    token that is forbidden or not among the K."""
    index, known = tokens, torch.ones_like(tokens, dtype=torch.bool)
    if head.rules.vocabulary is not None:
        index = torch.searchsorted(head.rules.vocabulary, tokens.contiguous()).clamp(max=masked.shape[-1] - 1)
        known = head.rules.vocabulary[index] == tokens
    own = masked.gather(-1, index[..., None])  # [R, T, 1]
    order = torch.arange(masked.shape[-1], device=masked.device)
    before = (masked > own) | ((masked == own) & (order < index[..., None]))
    return torch.where(known & ~own[..., 0].isneginf(), before.sum(-1), last)


def read_along(
    decoder: Decoder,
    head: Head,
    states: Tensor | Sequence[Tensor],  # encoder states, [F, d] a row
    prefixes: Sequence[Sequence[int]],
    tokens: Sequence[Sequence[int]],  # after the prefix
    read: Read,
) -> list[list[Any]]:
    """Row by row, what `read` finds at each position of `tokens`, given the ones before it."""
    result: list[list[Any]] = [[] for _ in tokens]
    lengths = [len(prefix) + len(row) - 1 for prefix, row in zip(prefixes, tokens, strict=True)]  # what is fed
    for rows in batches(lengths, [len(states[row]) for row in range(len(tokens))]):
        longest = max(lengths[row] for row in rows)
        padded = [([*prefixes[row], *tokens[row]] + [0] * longest)[: longest + 1] for row in rows]
        given = torch.tensor(padded, device=decoder.device)  # [R, T + 1]
        fed = given[:, :-1]
        cross = decoder.cross(torch.stack([states[row] for row in rows]).to(decoder.device))
        first = min(len(prefixes[row]) for row in rows) - 1  # no row decodes before this position
        hidden = decoder.read(fed, cross)[:, first:]
        starts = torch.tensor([[len(prefixes[row])] for row in rows], device=decoder.device)
        before = fed[:, max(first - 1, 0) : max(first - 1, 0) + 1]
        line = torch.cat([before, fed[:, first:]], 1)
        history = head.rules.history(line, first + 1 - starts, torch.full_like(starts, -1))
        found = read(hidden, history, given[:, first + 1 :]).tolist()
        for row, values in zip(rows, found, strict=True):
            at = len(prefixes[row]) - 1 - first
            result[row] = values[at : at + len(tokens[row])]
    return result


def batches(lengths: Sequence[int], frames: Sequence[int]) -> Iterator[list[int]]:
    """Rows of like length together, over windows of one length, as many as the bound on positions allows; longest
    first: memory peaks at once."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-frames[row], -lengths[row])):
        full = bool(batch) and lengths[batch[0]] * (len(batch) + 1) > POSITIONS_AT_ONCE
        if full or (batch and frames[row] != frames[batch[0]]):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
