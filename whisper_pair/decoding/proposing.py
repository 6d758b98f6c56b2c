"""The draft's half of a round: it proposes tokens, each row for itself, one forward a level of the tree of drafts.

The draft is fed what it has not seen yet: the last two tokens, because when all its drafts were accepted it never saw
the last of them. (One fixed shape then serves every round.) In a row's first round it may be fed the whole prefix.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .decoder import Branches
from .graphs import Graphs
from .logits_rules import LogitsRules, TokenHistory
from .model_state import ModelState, Step
from .round_inputs import counts_in
from .round_shape import RoundShape
from .sampling import Sampling, distribution, draw
from .tree_tensors import tensors_of

CHOICES = 3  # of the draft at one position, as trees take them


class Proposals(NamedTuple):
    """Drafted tokens with their probabilities."""

    tokens: Tensor  # [B, T]
    distributions: Tensor  # [B, T, V] that they were drawn from
    offered: Tensor  # [B] how many of the T each row proposes


class Proposer:
    """The draft model in the rounds of a call."""

    def __init__(self, state: ModelState, graphs: Graphs, vocabulary_size: int):
        self.state, self.graphs, self.size = state, graphs, vocabulary_size

    def greedy(self, inputs: Tensor, shape: RoundShape) -> Tensor:
        """-> the draft's most likely tokens [B, N]; fewer if the tree is a chain and every row's end is among them."""
        if not shape.tree:
            return inputs[:, :0]
        return self._chain(inputs, shape) if shape.tree.is_chain else self._tree(inputs, shape)

    def _chain(self, inputs: Tensor, shape: RoundShape) -> Tensor:
        head = self.state.head
        drafts: list[Tensor] = []
        ended: Tensor | None = None
        hidden, history, length = self._read_last(inputs, shape, self.state.step)
        while True:
            token = head.choose(hidden, history, begins=shape.begins and not drafts)  # [B, 1]
            drafts.append(token)
            if shape.until_end:
                ends = token == head.rules.end
                ended = ends if ended is None else ended | ends
            if len(drafts) == len(shape.tree) or (ended is not None and bool(ended.all())):
                return torch.cat(drafts, 1)
            hidden = self.state.step(token, length, shape.keys)
            history, length = next_history(history, token, head.rules), length + 1

    def _tree(self, inputs: Tensor, shape: RoundShape) -> Tensor:
        """Level by level, all its nodes that have children in one forward."""
        head, tree = self.state.head, shape.tree
        tensors = tensors_of(tree, inputs.device)
        hidden, history, length = self._read_last(inputs, shape, self.state.step)
        mask = tensors.mask(length, shape.keys.own, self.state.decoder.dtype)  # [B, N, keys]
        drafts: list[Tensor] = []
        for depth, level in enumerate(tree.levels):
            choices = head.choose_several(hidden, history, level.ranks, begins=shape.begins and depth == 0)
            drafts.append(choices.flatten(1).index_select(1, tensors.choices[depth]))  # [B, size]
            if level.fed:
                fed = drafts[-1][:, : level.fed]
                nodes = slice(level.start, level.start + level.fed)
                slots = length + torch.arange(nodes.start, nodes.stop, device=inputs.device)
                positions = (length + depth).expand(slots.shape)
                hidden = self.state.step(fed, positions, shape.keys, Branches(slots, mask[:, nodes]))
                history = next_history(history, fed, head.rules, tensors.fed_parents[depth])
        return torch.cat(drafts, 1)

    def with_probabilities(self, inputs: Tensor, shape: RoundShape, sampling: Sampling) -> Proposals:
        """A chain of tokens drawn at the temperature. A row proposes those up to and including the first one that is
        less likely to the draft than the confidence."""
        if not shape.tree:
            none = torch.zeros(shape.batch, dtype=torch.long, device=inputs.device)
            return Proposals(inputs[:, :0], torch.empty(shape.batch, 0, self.size, device=inputs.device), none)
        drafts, distributions, offered = [], [], []
        sure: Tensor | None = None  # [B, 1] no token yet was less likely than the confidence
        head, step = self.state.head, self.state.captured(self.graphs)
        hidden, history, length = self._read_last(inputs, shape, step)
        while True:
            masked = head.masked(hidden, history, self.size)  # [B, 1, V]
            q = distribution(masked, sampling.temperature)
            token = draw(q, sampling.generator)
            drafts.append(token)
            distributions.append(q)
            offered.append(torch.ones_like(token) if sure is None else sure.long())
            if sampling.confidence is not None:
                likely = masked.softmax(-1).gather(-1, token[..., None])[..., 0] >= sampling.confidence
                sure = likely if sure is None else sure & likely
            stop = sure is not None and not sure.any()
            if stop or len(drafts) == len(shape.tree):
                return Proposals(torch.cat(drafts, 1), torch.cat(distributions, 1), torch.cat(offered, 1).sum(1))
            hidden = step(token, length, shape.keys)
            history, length = next_history(history, token, head.rules), length + 1

    def one_pass(self, inputs: Tensor, shape: RoundShape, width: int) -> Tensor:
        """A pass over `width` tokens a row and the choice of what follows each, to be timed: [B, width, choices]."""
        last = shape.width - 1
        tokens = inputs[:, last : last + 1].expand(-1, width)
        positions = inputs[:, last + 1 : last + 2] + torch.arange(width, device=inputs.device)
        hidden = self.state.step(tokens, positions, shape.keys)
        line = torch.cat([inputs[:, last - 1 : last], tokens], 1)
        history = self.state.head.rules.history(line, *counts_in(inputs, shape.width))
        return self.state.head.choose_several(hidden, history, 1 if width == 1 else CHOICES, begins=False)

    def _read_last(self, inputs: Tensor, shape: RoundShape, step: Step) -> tuple[Tensor, TokenHistory, Tensor]:
        """The hidden state after the last token [B, 1, d], the history there, and the row's length [B, 1]."""
        width = shape.width
        tokens, length = inputs[:, :width], inputs[:, width : width + 1]
        positions = (length + torch.arange(-width, 0, device=inputs.device)).clamp(min=0)
        hidden = step(tokens, positions, shape.keys)[:, -1:]
        return hidden, self.state.head.rules.history(tokens[:, -2:], *counts_in(inputs, width)), length


def next_history(
    history: TokenHistory, tokens: Tensor, rules: LogitsRules, parents: Tensor | None = None
) -> TokenHistory:
    """The history one drafted token later. tokens [B, T]: the drafts; parents [T]: the positions in `history` [B, P]
    that they follow, None where T = P = 1."""
    if not rules.timestamps:  # then no rule asks which tokens came
        return history._replace(decoded=history.decoded[:, :1] + 1)
    if parents is not None:
        history = TokenHistory(*(each.index_select(1, parents) for each in history))
    timestamp = torch.where(rules.are_timestamps(tokens), tokens, history.timestamp)
    return TokenHistory(tokens, history.last, history.decoded + 1, timestamp)
