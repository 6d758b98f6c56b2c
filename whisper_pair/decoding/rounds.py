"""One round of speculation on the device: the draft proposes, the main verifies, each row for itself.

A round knows a row by its last tokens only. Fed to the main are the last token and the drafts; its choice after each
comes out of one forward. In a row's first round it may be fed the whole prefix, which saves a forward.

`inputs` [B, width + 3] carries all that changes between rounds in one transfer: the last `width` tokens, then the row's
length, how many tokens it has decoded, and its last timestamp or -1. Letters: B rows, N drafts, D depth of their tree.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .decoder import Branches
from .graphs import Graphs
from .logits_rules import TokenHistory
from .model_state import ModelState, Step
from .proposing import Proposer, counts_in
from .round_shape import RoundShape
from .sampling import Sampling, accept, distribution
from .tree import DraftTree
from .tree_tensors import TreeTensors, tensors_of


class VerificationResult(NamedTuple):
    """One row's round."""

    tree: DraftTree  # how the drafts follow one another
    proposed: list[int]  # [N] the draft's tokens, or those of a chain up to where every row had drafted its end
    path: Sequence[int]  # the drafts that the main agrees with, by their numbers, one after another
    following: int  # the main's own token after those
    offered: int  # how many were proposed before the draft lost confidence
    log_probabilities: list[float] | None  # of the path's tokens and the following one, where asked for


class Rounds:
    """The rounds of one call: the main, and what proposes tokens to it if anything does."""

    def __init__(self, main: ModelState, proposer: Proposer | None, graphs: Graphs, vocabulary_size: int):
        self.main, self.proposer, self.graphs, self.size = main, proposer, graphs, vocabulary_size

    @property
    def states(self) -> list[ModelState]:
        """The main's, and the draft's if there is one."""
        return [self.main] if self.proposer is None else [self.main, self.proposer.state]

    def greedy(self, inputs: Tensor, shape: RoundShape) -> list[VerificationResult]:
        """Draft and verification in one go (one graph), one synchronisation. One result a row."""
        rows = self.graphs((self.main.head.rules, shape), lambda given: self._greedy(given, shape), inputs).tolist()
        return [unpacked_result(row, shape) for row in rows]

    def _greedy(self, inputs: Tensor, shape: RoundShape) -> Tensor:
        """-> what `unpacked_result` reads: [B, N + D + 1], or [B, N + 2] of a chain.

        With log-probabilities, those of the main's N + 1 choices follow. All of it is float64 then, which
        holds a token's number and a float32 exactly, so that it goes to the host in one transfer.
        """
        drafts = inputs[:, :0] if self.proposer is None else self.proposer.greedy(inputs, shape)
        if not shape.log_probabilities:
            return self._accept(inputs, drafts, self.verify(inputs, drafts, shape), shape)
        choices, log_probabilities = self._verify_with_log_probabilities(inputs, drafts, shape)
        found = self._accept(inputs, drafts, choices, shape)
        return torch.cat([found.double(), log_probabilities.double()], 1)

    def _accept(self, inputs: Tensor, drafts: Tensor, choices: Tensor, shape: RoundShape) -> Tensor:
        """drafts [B, N], the main's choices [B, N + 1] -> the drafts, how many of a chain it agrees with or which of a
        tree, and its choice after those. A tree's path is moved into place in the caches."""
        if shape.tree.is_chain:
            accepted = count_agreed(drafts, choices)[:, None]
            return torch.cat([drafts, accepted, choices.gather(1, accepted)], 1)
        found = tensors_of(shape.tree, inputs.device).accepted(drafts, choices)
        for state in self.states:
            state.cache.move_slots(inputs[:, shape.width : shape.width + 1], found.slots)
        return torch.cat([drafts, found.path, found.following], 1)

    def verify(self, inputs: Tensor, drafts: Tensor, shape: RoundShape) -> Tensor:
        """The main's choices after the last token and after each of the drafts [B, N]: [B, N + 1]."""
        hidden, history = self._read_drafts(inputs, drafts, shape, self.main.step)
        return self.main.head.choose(hidden, history, shape.begins)

    def _verify_with_log_probabilities(
        self, inputs: Tensor, drafts: Tensor, shape: RoundShape
    ) -> tuple[Tensor, Tensor]:
        """The main's choices, and their log-probabilities under the rules in float32: [B, N + 1] twice."""
        hidden, history = self._read_drafts(inputs, drafts, shape, self.main.step)
        masked = self.main.head.masked(hidden, history, self.size)  # [B, N + 1, V]
        return masked.argmax(-1), masked.log_softmax(-1).amax(-1)

    def _read_drafts(
        self, inputs: Tensor, drafts: Tensor, shape: RoundShape, step: Step
    ) -> tuple[Tensor, TokenHistory]:
        """The main's hidden states after the last token and after each draft: [B, N + 1, d]."""
        if not shape.tree.is_chain:
            return self._read_tree(inputs, drafts, shape, tensors_of(shape.tree, inputs.device))
        width, reads, needed = shape.width, shape.reads, shape.reads + drafts.shape[1]
        length, fed = inputs[:, width : width + 1], shape.fed(needed)
        tokens = torch.cat([inputs[:, :width], drafts], 1)  # [B, width + N]
        positions = length + torch.arange(-reads, fed - reads, device=inputs.device)
        if reads > 1:
            positions = positions.clamp(min=0)
        padded = F.pad(tokens[:, width - reads :], (0, fed - needed)) if fed > needed else tokens[:, width - reads :]
        hidden = step(padded, positions, shape.keys)[:, reads - 1 : needed]
        return hidden, self.main.head.rules.history(tokens[:, width - 2 :], *counts_in(inputs, width))

    def _read_tree(
        self, inputs: Tensor, drafts: Tensor, shape: RoundShape, tree: TreeTensors
    ) -> tuple[Tensor, TokenHistory]:
        """The same of drafts that branch: siblings share a position, and each has a slot of its own."""
        width, reads, main = shape.width, shape.reads, self.main.decoder
        length = inputs[:, width : width + 1]
        tokens = torch.cat([inputs[:, :width], drafts], 1)  # [B, width + N]
        read = (length + torch.arange(-reads, 0, device=inputs.device)).clamp(min=0)  # positions and slots of the text
        positions = torch.cat([read, length - 1 + tree.depths[1:]], 1)
        slots = torch.cat([read, length + torch.arange(drafts.shape[1], device=inputs.device)], 1)
        mask = torch.cat(
            [main.causal_mask(read, shape.keys.own), tree.mask(length, shape.keys.own, main.dtype)], 1
        )  # [B, reads + N, keys]
        hidden = self.main.step(tokens[:, width - reads :], positions, shape.keys, Branches(slots, mask))
        decoded, timestamp = counts_in(inputs, width)
        history = tree.history(tokens[:, width - 2 :], decoded, timestamp, self.main.head.rules)
        return hidden[:, reads - 1 :], history

    def with_probabilities(self, inputs: Tensor, shape: RoundShape, sampling: Sampling) -> list[VerificationResult]:
        """A round over a chain with probabilities at hand: for sampling, the confidence stop and log-probabilities."""
        drafts, offered = inputs[:, :0], inputs.new_zeros(shape.batch)
        q = inputs.new_zeros(shape.batch, 0, self.size, dtype=torch.float32)
        if self.proposer is not None:
            drafts, q, offered = self.proposer.with_probabilities(inputs, shape, sampling)
        hidden, history = self._read_drafts(inputs, drafts, shape, self.main.captured(self.graphs))
        masked = self.main.head.masked(hidden, history, self.size)  # [B, N + 1, V]
        if sampling.temperature == 0:
            choices = masked.argmax(-1)
            accepted = torch.minimum(count_agreed(drafts, choices), offered)
            following = choices.gather(1, accepted[:, None])[:, 0]
        else:
            p = distribution(masked, sampling.temperature)
            accepted, following = accept(p, q, drafts, offered, sampling.generator)
        at = torch.arange(drafts.shape[1] + 1, device=inputs.device)
        tokens = torch.where(at == accepted[:, None], following[:, None], F.pad(drafts, (0, 1)))
        log_probabilities = masked.log_softmax(-1).gather(-1, tokens[..., None])[..., 0].tolist()
        rows = torch.cat([drafts, accepted[:, None], following[:, None], offered[:, None]], 1).tolist()
        return [
            VerificationResult(shape.tree, row[:-3], range(row[-3]), row[-2], row[-1], values)
            for row, values in zip(rows, log_probabilities, strict=True)
        ]


def unpacked_result(row: list[int] | list[float], shape: RoundShape) -> VerificationResult:
    """One row of what a greedy round brings to the host."""
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


def count_agreed(drafts: Tensor, choices: Tensor) -> Tensor:
    """drafts [B, N], the main's choices [B, N + 1] -> how many drafts agree before the first that does not: [B]."""
    return (drafts == choices[:, :-1]).long().cumprod(1).sum(1)
