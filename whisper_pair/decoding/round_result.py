"""What a round brings to the host, and when: the device may still be at it, and copies its result as it ends."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .round_shape import RoundShape
from .tree import DraftTree


class VerificationResult(NamedTuple):
    """One row's round."""

    tree: DraftTree  # how the drafts follow one another
    proposed: list[int]  # [N] the draft's tokens, or those of a chain up to where every row had drafted its end
    path: Sequence[int]  # the drafts that the main agrees with, by their numbers, one after another
    following: int  # the main's own token after those
    offered: int  # how many were proposed before the draft lost confidence
    log_probabilities: list[float] | None  # of the path's tokens and the following one, where asked for


Unpack = Callable[[list[float], RoundShape], VerificationResult]  # one row of what was found


class InFlight:
    """A round that was submitted. The host may read its result at once, or do other work first: on a GPU the copy to
    the host is queued behind the round, and the next round may be queued behind that."""

    def __init__(self, shape: RoundShape, found: Tensor, unpack: Unpack, following: Tensor | None = None):
        self.shape, self.unpack = shape, unpack
        self.following = following  # [B, 5] the next round's inputs, on the device; None: the host must write them
        self._found = found.to("cpu", non_blocking=True, copy=True)  # the next graph may overwrite what this one found
        self._copied = torch.cuda.current_stream(found.device).record_event() if found.is_cuda else None

    def results(self) -> list[VerificationResult]:
        """One a row. Waits for the device."""
        if self._copied is not None:
            self._copied.synchronize()
        return [self.unpack(row, self.shape) for row in self._found.tolist()]


def greedy_result(row: list[float], shape: RoundShape) -> VerificationResult:
    """Of [N + D + 1] numbers, or [N + 2] of a chain: see `Rounds`. Log-probabilities of the main's N + 1 choices follow
    where they are asked for."""
    tree = shape.tree
    if not tree.is_chain:
        size, end = len(tree), len(tree) + tree.depth
        path: Sequence[int] = [int(node) for node in row[size:end] if node >= 0]
        values = [row[end + 1], *(row[end + 2 + node] for node in path)] if shape.log_probabilities else None
        return VerificationResult(tree, [int(token) for token in row[:size]], path, int(row[end]), size, values)
    size = len(row) // 2 - 1 if shape.log_probabilities else len(row) - 2
    *proposed, accepted, following = map(int, row[: size + 2])
    # Offered are those past a drafted end of the text too: rows.py decides what counts.
    values = [*row[size + 2 :]] if shape.log_probabilities else None
    return VerificationResult(tree, proposed, range(accepted), following, len(tree), values)


def result_with_probabilities(row: list[float], shape: RoundShape) -> VerificationResult:
    """Of [2 N + 4] numbers of a chain: the drafts, how many are accepted, what follows, how many were offered, and the
    log-probabilities of the N + 1 tokens."""
    size = len(row) // 2 - 2
    *proposed, accepted, following, offered = map(int, row[: size + 3])
    return VerificationResult(shape.tree, proposed, range(accepted), following, offered, row[size + 3 :])
