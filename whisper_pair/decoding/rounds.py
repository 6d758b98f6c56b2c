"""One round of speculation on the device: the draft proposes, the main verifies, each row for itself.

A round knows a row by its last tokens only. Fed to the main are the last token and the drafts; what the main would say
after each comes out of one forward. The draft is fed what it has not seen yet: the last two tokens, for when all its
drafts were accepted it never saw the last of them. (One fixed shape then serves every round.) In a row's first round
both may be fed its whole prefix, which spares a forward of its own.

`inputs` [B, width + 3] carries all that changes between rounds in one transfer: the last `width` tokens, then the row's
length, how many tokens it has decoded, and its last timestamp or -1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .decoder import Decoder
from .graphs import Graphs
from .kv_cache import KVCache
from .linear import Weight, linear, packed, unpacked
from .logits_rules import LogitsRules, TokenHistory
from .sampling import accept, distribution, draw


class Head(NamedTuple):
    """From hidden states to tokens: the output embedding, or the slice of it that `rules.vocabulary` names."""

    weight: Weight  # [K, d]
    bias: Tensor  # [K] -inf where suppressed
    rules: LogitsRules

    @classmethod
    def of(cls, decoder: Decoder, rules: LogitsRules) -> "Head":
        weight = decoder.head if rules.vocabulary is None else packed(unpacked(decoder.head)[rules.vocabulary])
        return cls(weight, rules.bias.to(decoder.dtype), rules)

    def logits(self, hidden: Tensor) -> Tensor:
        return linear(hidden, self.weight, self.bias)  # [B, T, K]

    def masked(self, hidden: Tensor, history: TokenHistory, size: int) -> Tensor:
        """Logits under the rules over the whole vocabulary, float32: [B, T, size]."""
        masked = self.rules.mask(self.logits(hidden), history)
        if self.rules.vocabulary is None:
            return masked
        return masked.new_full((*masked.shape[:-1], size), -torch.inf).index_copy_(-1, self.rules.vocabulary, masked)


@dataclass(frozen=True)
class RoundShape:
    """What a captured round depends on besides its inputs' values."""

    batch: int
    width: int  # last tokens known to the round; the draft is fed all of them
    draft_tokens: int
    key_length: int  # bounds every position fed
    begins: bool  # may some row be about to decode its first token?
    reads: int = 1  # of those last tokens, how many the main is fed: more where a row's prefix is yet to be read
    log_probabilities: bool = False  # are those of the main's choices wanted?
    until_end: bool = False  # may drafting stop once every row has drafted its end? Not where a graph fixes the shapes


class VerificationResult(NamedTuple):
    drafts: list[list[int]]  # [B][T]
    accepted: list[int]  # [B]
    following: list[int]  # [B] the main's own token after the accepted ones
    offered: list[int]  # [B] drafts up to where the draft lost confidence
    log_probabilities: list[list[float]] | None  # [B][T + 1] of the accepted drafts and the following token

    def row(self, slot: int) -> tuple[list[int], int, int, int, list[float] | None]:
        said = None if self.log_probabilities is None else self.log_probabilities[slot]
        return self.drafts[slot], self.accepted[slot], self.following[slot], self.offered[slot], said


class ModelState(NamedTuple):
    """A model ready to be asked for tokens."""

    decoder: Decoder
    head: Head
    cache: KVCache

    def step(self, tokens: Tensor, positions: Tensor, key_length: int) -> Tensor:
        return self.decoder.step(self.cache, tokens, positions, key_length)


Step = Callable[[Tensor, Tensor, int], Tensor]  # tokens [B, T], positions [B, T], key_length -> hidden [B, T, d]


class Rounds:
    def __init__(self, main: ModelState, draft: ModelState | None, graphs: Graphs, vocabulary_size: int):
        self.main, self.draft, self.graphs = main, draft, graphs
        self.size = vocabulary_size

    def greedy(self, inputs: Tensor, shape: RoundShape) -> VerificationResult:
        """Draft and verification in one go (one graph), one synchronisation."""
        rows = self.graphs((self.main.head.rules, shape), lambda given: self._greedy(given, shape), inputs).tolist()
        log_probabilities = None
        if shape.log_probabilities:
            count = len(rows[0]) // 2 - 1  # of drafts
            log_probabilities = [row[count + 2 :] for row in rows]
            rows = [[int(value) for value in row[: count + 2]] for row in rows]
        return VerificationResult(
            drafts=[row[:-2] for row in rows],
            accepted=[row[-2] for row in rows],
            following=[row[-1] for row in rows],
            offered=[shape.draft_tokens] * len(rows),  # past a drafted end too: rows.py decides what counts
            log_probabilities=log_probabilities,
        )

    def _greedy(self, inputs: Tensor, shape: RoundShape) -> Tensor:
        """-> [B, drafts + 2]: the drafts, how many the main agrees with, the main's token after those.

        With log-probabilities, those of the main's drafts + 1 choices stand behind: all of it in float64 then, which
        holds a token's number and a float32 exactly, so that it goes to the host in one transfer.
        """
        drafts = self._propose(inputs, shape) if shape.draft_tokens else inputs[:, :0]
        if not shape.log_probabilities:
            return _agreed(drafts, self.verify(inputs, drafts, shape))
        choices, log_probabilities = self._verify_with_log_probabilities(inputs, drafts, shape)
        return torch.cat([_agreed(drafts, choices).double(), log_probabilities.double()], 1)

    def verify(self, inputs: Tensor, drafts: Tensor, shape: RoundShape) -> Tensor:
        """The main's choices after the last token and after each draft: [B, drafts + 1]."""
        hidden, history = self._read_drafts(inputs, drafts, shape, self.main.step)
        head = self.main.head
        return head.rules.choose(head.logits(hidden), history, shape.begins)

    def _verify_with_log_probabilities(
        self, inputs: Tensor, drafts: Tensor, shape: RoundShape
    ) -> tuple[Tensor, Tensor]:
        """The main's choices, and their log-probabilities under the rules in float32: [B, drafts + 1] twice."""
        hidden, history = self._read_drafts(inputs, drafts, shape, self.main.step)
        masked = self.main.head.masked(hidden, history, self.size)  # [B, drafts + 1, V]
        return masked.argmax(-1), masked.log_softmax(-1).amax(-1)

    def _read_drafts(
        self, inputs: Tensor, drafts: Tensor, shape: RoundShape, step: Step
    ) -> tuple[Tensor, TokenHistory]:
        """The main's hidden states after the last token and after each draft: [B, T + 1, d]."""
        width, reads = shape.width, shape.reads
        length = inputs[:, width : width + 1]
        tokens = torch.cat([inputs[:, :width], drafts], 1)  # [B, width + T]
        positions = length + torch.arange(-reads, drafts.shape[1], device=inputs.device)
        if reads > 1:
            positions = positions.clamp(min=0)
        hidden = step(tokens[:, width - reads :], positions, shape.key_length)[:, reads - 1 :]
        return hidden, TokenHistory(tokens[:, width - 2 :], inputs[:, width + 1 : width + 2], inputs[:, width + 2 :])

    def _propose(self, inputs: Tensor, shape: RoundShape) -> Tensor:
        """-> drafts [B, draft_tokens], or fewer if every row's end is among them"""
        rules, drafts, ended = self.draft.head.rules, [], False
        hidden, history, length = self._read_last(inputs, shape, self.draft.step)
        while True:
            begins = shape.begins and not drafts
            token = rules.choose(self.draft.head.logits(hidden), history, begins)  # [B, 1]
            drafts.append(token)
            if shape.until_end:
                ended = ended | (token == rules.end)
            if len(drafts) == shape.draft_tokens or (shape.until_end and ended.all()):
                return torch.cat(drafts, 1)
            hidden = self.draft.step(token, length, shape.key_length)
            history, length = next_history(history, token, rules), length + 1

    def _read_last(self, inputs: Tensor, shape: RoundShape, step: Step) -> tuple[Tensor, TokenHistory, Tensor]:
        """The draft's hidden state after the last token [B, 1, d], the history there, and the row's length [B, 1]."""
        width = shape.width
        tokens, length = inputs[:, :width], inputs[:, width : width + 1]
        positions = (length + torch.arange(-width, 0, device=inputs.device)).clamp(min=0)
        hidden = step(tokens, positions, shape.key_length)[:, -1:]
        return hidden, TokenHistory(tokens[:, -2:], inputs[:, width + 1 : width + 2], inputs[:, width + 2 :]), length

    def draft_step(self, inputs: Tensor, shape: RoundShape) -> Tensor:
        """One token a row through the draft, for the clock: [B, 1]."""
        width = shape.width
        token, length = inputs[:, width - 1 : width], inputs[:, width : width + 1]
        hidden = self.draft.step(token, length, shape.key_length)
        history = TokenHistory(inputs[:, width - 2 : width], inputs[:, width + 1 : width + 2], inputs[:, width + 2 :])
        return self.draft.head.rules.choose(self.draft.head.logits(hidden), history, begins=False)

    def careful(
        self,
        inputs: Tensor,
        shape: RoundShape,
        temperature: float,
        confidence: float | None,
        generator: torch.Generator,
    ) -> VerificationResult:
        """The same round with probabilities at hand: for sampling, the confidence stop and log-probabilities."""
        batch = shape.batch
        drafts, q = inputs[:, :0], torch.empty(batch, 0, self.size, device=inputs.device)
        offered = torch.zeros(batch, dtype=torch.long, device=inputs.device)
        if shape.draft_tokens:
            drafts, q, offered = self._propose_carefully(inputs, shape, temperature, confidence, generator)
        places = torch.arange(drafts.shape[1] + 1, device=inputs.device)
        hidden, history = self._read_drafts(inputs, drafts, shape, self._captured(self.main))
        masked = self.main.head.masked(hidden, history, self.size)  # [B, T + 1, V]
        if temperature == 0:
            choices = masked.argmax(-1)
            accepted = (drafts == choices[:, :-1]).long().cumprod(1).sum(1)
            accepted = torch.minimum(accepted, offered)
            following = choices.gather(1, accepted[:, None])[:, 0]
        else:
            p = distribution(masked, temperature)
            accepted, following = accept(p, q, drafts, offered, generator)
        said = torch.where(places == accepted[:, None], following[:, None], F.pad(drafts, (0, 1)))
        log_probabilities = masked.log_softmax(-1).gather(-1, said[..., None])[..., 0]
        packed = torch.cat([drafts, accepted[:, None], following[:, None], offered[:, None]], 1).tolist()
        count = drafts.shape[1]
        return VerificationResult(
            drafts=[row[:count] for row in packed],
            accepted=[row[count] for row in packed],
            following=[row[count + 1] for row in packed],
            offered=[row[count + 2] for row in packed],
            log_probabilities=log_probabilities.tolist(),
        )

    def _propose_carefully(
        self,
        inputs: Tensor,
        shape: RoundShape,
        temperature: float,
        confidence: float | None,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-> drafts [B, T], their distributions [B, T, V], and how many each row offers [B], T the most of these.

        A row offers its drafts up to and including the first one held less likely than `confidence`.
        """
        drafts, distributions, offered, sure = [], [], [], None
        step = self._captured(self.draft)
        hidden, history, length = self._read_last(inputs, shape, step)
        while True:
            masked = self.draft.head.masked(hidden, history, self.size)  # [B, 1, V]
            q = distribution(masked, temperature)
            token = draw(q, generator)
            drafts.append(token)
            distributions.append(q)
            offered.append(torch.ones_like(token) if sure is None else sure.long())
            if confidence is not None:
                likely = masked.softmax(-1).gather(-1, token[..., None])[..., 0] >= confidence
                sure = likely if sure is None else sure & likely
            stop = sure is not None and not sure.any()
            if stop or len(drafts) == shape.draft_tokens:
                return torch.cat(drafts, 1), torch.cat(distributions, 1), torch.cat(offered, 1).sum(1)
            hidden = step(token, length, shape.key_length)
            history, length = next_history(history, token, self.draft.head.rules), length + 1

    def _captured(self, speaker: ModelState) -> Step:
        """A speaker's step as a graph of its own, for rounds that come to the host between steps."""

        def step(tokens: Tensor, positions: Tensor, key_length: int) -> Tensor:
            key = (speaker.decoder, tuple(tokens.shape), key_length)
            return self.graphs(key, lambda fed, places: speaker.step(fed, places, key_length), tokens, positions)

        return step


def _agreed(drafts: Tensor, choices: Tensor) -> Tensor:
    """drafts [B, T], the main's choices [B, T + 1] -> [B, T + 2]: drafts, how many agree, the choice after those."""
    accepted = (drafts == choices[:, :-1]).long().cumprod(1).sum(1, keepdim=True)
    return torch.cat([drafts, accepted, choices.gather(1, accepted)], 1)


def next_history(history: TokenHistory, token: Tensor, rules: LogitsRules) -> TokenHistory:
    """The history one drafted token [B, 1] later."""
    decoded = history.decoded + 1
    if not rules.timestamps:  # then no rule asks which tokens came
        return history._replace(decoded=decoded)
    timestamp = torch.where(rules.are_timestamps(token), token, history.timestamp)
    return TokenHistory(torch.cat([history.tokens[:, -1:], token], 1), decoded, timestamp)
