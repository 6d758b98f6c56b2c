"""What a round over a tree needs of it on the device: constants, made once a tree, which captured graphs read.

Positions and slots differ in a tree. A node at depth k has the position that follows k - 1 drafts, and so do its
siblings; but each node's keys and values have a slot of their own, in the order of the nodes, after the row's own. The
accepted path's are moved to the slots of their positions when the round ends, and then the cache is as after a chain.

Letters in shapes: B rows, N nodes, D depth of the tree.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from .logits_rules import LogitsRules, TokenHistory
from .tree import DraftTree


class Accepted(NamedTuple):
    """The longest path on which the main agrees."""

    following: Tensor  # [B, 1] the main's own token after it
    path: Tensor  # [B, D] its nodes; -1 past its end
    slots: Tensor  # [B, D] the slots of its keys and values after the row's length; past its end where they would go


class TreeTensors:
    """Of a tree that is no chain. Made by `tensors_of`."""

    def __init__(self, tree: DraftTree, device: torch.device):
        size = len(tree)
        ancestors = torch.eye(size + 1, dtype=torch.bool)  # [N + 1, N + 1], 0 the row's last token
        for node, parent in enumerate(tree.parents):
            ancestors[node + 1] |= ancestors[parent + 1]
        ancestors[:, 0] = True
        hidden = ~ancestors[1:, 1:].T  # [key, query]
        none = torch.zeros(1, size, dtype=torch.bool)
        self.tree = tree
        self.depths = torch.tensor([0, *tree.depths], device=device)  # [N + 1]
        self.parents = torch.tensor(tree.parents, device=device) + 1  # [N] in the numbers of N + 1
        self.before = torch.tensor([0, *(parent + 2 for parent in tree.parents)], device=device)
        self.ancestors = ancestors.to(device)
        # What a query node's score gets by where the key's slot is: before the tree, at a node of it, or after.
        table = torch.zeros(size + 2, size).masked_fill_(torch.cat([none, hidden, ~none]), -torch.inf)
        self.bias = table.to(device)  # [N + 2, N]
        at_depth = torch.tensor([[own == depth for own in tree.depths] for depth in range(1, tree.depth + 1)])
        self.numbers = (at_depth * torch.arange(1, size + 1)).to(device)  # [D, N] 1 + node where the depth is its own
        self.order = torch.arange(tree.depth, device=device)
        self.choices = [torch.tensor(level.choices, device=device) for level in tree.levels]
        self.fed_parents = [
            torch.tensor([tree.parents[level.start + node] - above for node in range(level.fed)], device=device)
            for above, level in zip([-1, *(level.start for level in tree.levels)], tree.levels, strict=False)
        ]

    def mask(self, length: Tensor, key_length: int, dtype: torch.dtype) -> Tensor:
        """Row lengths [B, 1] -> what is added to the nodes' scores of the keys in all slots: [B, N, key_length]."""
        place = torch.arange(key_length, device=length.device) - length + 1  # [B, key_length]
        bias = torch.embedding(self.bias, place.clamp(0, len(self.bias) - 1))
        return bias.transpose(1, 2).contiguous().to(dtype)

    def history(self, tokens: Tensor, decoded: Tensor, timestamp: Tensor, rules: LogitsRules) -> TokenHistory:
        """tokens [B, 2 + N]: the row's last two and the nodes' -> the history at its last token and at each node."""
        last, decoded = tokens[:, 1:], decoded + self.depths
        if not rules.timestamps:  # then no rule asks which tokens came
            return TokenHistory(last, last, decoded, timestamp)
        drafted = torch.where(rules.are_timestamps(tokens[:, 2:]), tokens[:, 2:], -1)
        along = torch.where(self.ancestors, torch.cat([timestamp, drafted], 1)[:, None], -1)  # they never decrease
        return TokenHistory(last, tokens.index_select(1, self.before), decoded, along.amax(-1))

    def accepted(self, drafts: Tensor, choices: Tensor) -> Accepted:
        """drafts [B, N], the main's choices after the last token and each draft [B, N + 1]."""
        agrees = drafts == choices.index_select(1, self.parents)  # siblings differ, so one of them at most
        whole = (agrees[:, None] | ~self.ancestors[1:, 1:]).all(-1)  # [B, N] all of the node's path agrees
        numbers = (whole[:, None] * self.numbers).amax(-1)  # [B, D] 1 + the path's node of each depth, or 0
        last = numbers.amax(-1, keepdim=True)  # nodes are numbered by depth
        slots = torch.where(numbers > 0, numbers - 1, self.order)
        return Accepted(choices.gather(1, last), numbers - 1, slots)


@cache
def tensors_of(tree: DraftTree, device: torch.device) -> TreeTensors:
    """Kept for the life of the process: graphs read them, and trees are few."""
    with torch.inference_mode():
        return TreeTensors(tree, device)
