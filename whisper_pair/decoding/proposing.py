"""The draft's half of a round: it proposes tokens, each row for itself, one forward a token.

The draft is fed what it has not seen yet: the last two tokens, because when all its drafts were accepted it never saw
the last of them. (One fixed shape then serves every round.) In a row's first round it may be fed the whole prefix.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .graphs import Graphs
from .logits_rules import LogitsRules, TokenHistory
from .model_state import ModelState, Step
from .round_shape import RoundShape
from .sampling import Sampling, distribution, draw


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
        """-> the draft's likeliest tokens [B, draft_tokens], or fewer if every row's end is among them."""
        if shape.draft_tokens == 0:
            return inputs[:, :0]
        head = self.state.head
        drafts: list[Tensor] = []
        ended: Tensor | None = None
        hidden, history, length = read_last(inputs, shape, self.state.step)
        while True:
            token = head.choose(hidden, history, begins=shape.begins and not drafts)  # [B, 1]
            drafts.append(token)
            if shape.until_end:
                ends = token == head.rules.end
                ended = ends if ended is None else ended | ends
            if len(drafts) == shape.draft_tokens or (ended is not None and bool(ended.all())):
                return torch.cat(drafts, 1)
            hidden = self.state.step(token, length, shape.key_length)
            history, length = next_history(history, token, head.rules), length + 1

    def with_probabilities(self, inputs: Tensor, shape: RoundShape, sampling: Sampling) -> Proposals:
        """Tokens drawn at the temperature. A row proposes those up to and including the first one that the draft holds
        less likely than the confidence."""
        if shape.draft_tokens == 0:
            none = torch.zeros(shape.batch, dtype=torch.long, device=inputs.device)
            return Proposals(inputs[:, :0], torch.empty(shape.batch, 0, self.size, device=inputs.device), none)
        drafts, distributions, offered = [], [], []
        sure: Tensor | None = None  # [B, 1] no token yet was less likely than the confidence
        head, step = self.state.head, self.state.captured(self.graphs)
        hidden, history, length = read_last(inputs, shape, step)
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
            if stop or len(drafts) == shape.draft_tokens:
                return Proposals(torch.cat(drafts, 1), torch.cat(distributions, 1), torch.cat(offered, 1).sum(1))
            hidden = step(token, length, shape.key_length)
            history, length = next_history(history, token, head.rules), length + 1

    def one_token(self, inputs: Tensor, shape: RoundShape) -> Tensor:
        """One token a row through the draft, to be timed: [B, 1]."""
        width = shape.width
        token, length = inputs[:, width - 1 : width], inputs[:, width : width + 1]
        hidden = self.state.step(token, length, shape.key_length)
        history = TokenHistory(inputs[:, width - 2 : width], inputs[:, width + 1 : width + 2], inputs[:, width + 2 :])
        return self.state.head.choose(hidden, history, begins=False)


def read_last(inputs: Tensor, shape: RoundShape, step: Step) -> tuple[Tensor, TokenHistory, Tensor]:
    """The hidden state after the last token [B, 1, d], the history there, and the row's length [B, 1]."""
    width = shape.width
    tokens, length = inputs[:, :width], inputs[:, width : width + 1]
    positions = (length + torch.arange(-width, 0, device=inputs.device)).clamp(min=0)
    hidden = step(tokens, positions, shape.key_length)[:, -1:]
    return hidden, TokenHistory(tokens[:, -2:], inputs[:, width + 1 : width + 2], inputs[:, width + 2 :]), length


def next_history(history: TokenHistory, token: Tensor, rules: LogitsRules) -> TokenHistory:
    """The history one drafted token [B, 1] later."""
    decoded = history.decoded + 1
    if not rules.timestamps:  # then no rule asks which tokens came
        return history._replace(decoded=decoded)
    timestamp = torch.where(rules.are_timestamps(token), token, history.timestamp)
    return TokenHistory(torch.cat([history.tokens[:, -1:], token], 1), decoded, timestamp)
