"""A round's inputs: all that changes between rounds, in one tensor.

[B, width + 3]: a row's last `width` tokens, its length, how many tokens it has decoded, and its last timestamp or -1.
The host writes a row's first ones (`Row.inputs`). From then on a round can make the next round's itself, of width 2, so
that the device need not wait for the host.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .logits_rules import LogitsRules


def counts_in(inputs: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """How many tokens each row has decoded, and its last timestamp or -1: [B, 1] twice."""
    return inputs[:, width + 1 : width + 2], inputs[:, width + 2 :]


def padded(inputs: Tensor, batch: int) -> Tensor:
    """Inputs of `batch` rows: the last one is repeated, whose copies land in unused slots."""
    missing = batch - len(inputs)
    return torch.cat([inputs, inputs[-1:].expand(missing, -1)]) if missing else inputs


def next_inputs(
    inputs: Tensor,  # [B, width + 3]
    width: int,
    drafts: Tensor,  # [B, N]
    path: Tensor,  # [B, D] the accepted ones, by their numbers, one after another; -1 past the path's end
    following: Tensor,  # [B, 1] the main's own token after those
    rules: LogitsRules,
    longest: int,  # length that no text goes beyond
) -> Tensor:
    """The next round's inputs, [B, 5]; of a row whose text has ended, any that are in range."""
    line = torch.cat([inputs[:, width - 1 : width], drafts], 1)  # [B, 1 + N] the row's last token, and the drafts
    nodes = F.pad(path + 1, (1, 0))  # [B, 1 + D] in the numbers of the line
    before = line.gather(1, nodes.amax(1, keepdim=True))  # drafts are numbered by depth
    won = (nodes > 0).sum(1, keepdim=True) + 1
    decoded, timestamp = counts_in(inputs, width)
    if rules.timestamps:
        new = torch.cat([torch.where(nodes > 0, line.gather(1, nodes), -1), following], 1)
        stamps = torch.where(rules.are_timestamps(new), new, -1)
        timestamp = torch.cat([timestamp, stamps], 1).amax(1, keepdim=True)  # they never decrease
    length = (inputs[:, width : width + 1] + won).clamp(max=longest)
    return torch.cat([before, following, length, decoded + won, timestamp], 1)
