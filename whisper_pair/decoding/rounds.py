"""One round of speculation on the device: the draft proposes, the main verifies, each row for itself.

A round knows a row by its last tokens only. Fed to the main are the last token and the drafts; its choice after each
comes out of one forward. In a row's first round it may be fed the whole prefix, which saves a forward.

A round is submitted, and its result is read then or later (round_result.py); between the two neither host nor device
waits for the other. `inputs` [B, width + 3]: see round_inputs.py. Letters: B rows, N drafts, D depth of their tree.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .decoder import Branches
from .graphs import Graphs
from .logits_rules import TokenHistory
from .model_state import ModelState, Step
from .proposing import Proposer
from .round_inputs import counts_in, next_inputs
from .round_result import InFlight, VerificationResult, greedy_result, result_with_probabilities
from .round_shape import RoundShape
from .sampling import Sampling, accept, distribution
from .tree_tensors import TreeTensors, tensors_of


class Rounds:
    """The rounds of one call: the main, and what proposes tokens to it if anything does."""

    def __init__(
        self,
        main: ModelState,
        proposer: Proposer | None,
        graphs: Graphs,
        vocabulary_size: int,
        onward: bool = False,  # do they make the next round's inputs?
    ):
        self.main, self.proposer, self.graphs, self.size = main, proposer, graphs, vocabulary_size
        self.onward = onward

    @property
    def states(self) -> list[ModelState]:
        """The main's, and the draft's if there is one."""
        return [self.main] if self.proposer is None else [self.main, self.proposer.state]

    def submit(self, inputs: Tensor, shape: RoundShape) -> InFlight:
        """Draft and verification in one go (one graph). Nothing waits."""
        found, following = self.graphs((self.main.head.rules, shape), lambda given: self._greedy(given, shape), inputs)
        return InFlight(shape, found, greedy_result, following)

    def greedy(self, inputs: Tensor, shape: RoundShape) -> list[VerificationResult]:
        """The same, and its result at once."""
        return self.submit(inputs, shape).results()

    def _greedy(self, inputs: Tensor, shape: RoundShape) -> tuple[Tensor, Tensor | None]:
        """-> what `greedy_result` reads: [B, N + D + 1], or [B, N + 2] of a chain; and the next round's inputs.

        With log-probabilities, those of the main's N + 1 choices follow. All of it is float64 then, which
        holds a token's number and a float32 exactly, so that it goes to the host in one transfer.
        """
        drafts = inputs[:, :0] if self.proposer is None else self.proposer.greedy(inputs, shape)
        if not shape.log_probabilities:
            return self._accept(inputs, drafts, self.verify(inputs, drafts, shape), shape)
        choices, log_probabilities = self._verify_with_log_probabilities(inputs, drafts, shape)
        found, following = self._accept(inputs, drafts, choices, shape)
        return torch.cat([found.double(), log_probabilities.double()], 1), following

    def _accept(
        self, inputs: Tensor, drafts: Tensor, choices: Tensor, shape: RoundShape
    ) -> tuple[Tensor, Tensor | None]:
        """drafts [B, N], the main's choices [B, N + 1] -> the drafts, how many of a chain it agrees with or which of a
        tree, and its choice after those; and the next round's inputs. A tree's path is moved into place in the caches.
        """
        if shape.tree.is_chain:
            accepted = count_agreed(drafts, choices)[:, None]
            agreed, following = accepted, choices.gather(1, accepted)
        else:
            tree = tensors_of(shape.tree, inputs.device).accepted(drafts, choices)
            for state in self.states:
                state.cache.move_slots(inputs[:, shape.width : shape.width + 1], tree.slots)
            agreed, following = tree.path, tree.following
        found = torch.cat([drafts, agreed, following], 1)
        if not shape.onward:
            return found, None
        if shape.tree.is_chain:
            order = torch.arange(drafts.shape[1], device=drafts.device)
            agreed = torch.where(order < agreed, order, -1)
        rules, longest = self.main.head.rules, self.main.decoder.max_length
        return found, next_inputs(inputs, shape.width, drafts, agreed, following, rules, longest)

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

    def with_probabilities(self, inputs: Tensor, shape: RoundShape, sampling: Sampling) -> InFlight:
        """A round over a chain with probabilities at hand, for sampling and for the confidence stop, which the host
        looks at after each draft."""
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
        log_probabilities = masked.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        counts = torch.stack([accepted, following, offered], 1)
        found = torch.cat([drafts.double(), counts.double(), log_probabilities.double()], 1)
        return InFlight(shape, found, result_with_probabilities)


def count_agreed(drafts: Tensor, choices: Tensor) -> Tensor:
    """drafts [B, N], the main's choices [B, N + 1] -> how many drafts agree before the first that does not: [B]."""
    return (drafts == choices[:, :-1]).long().cumprod(1).sum(1)
