"""Whisper's rules about which token may follow, for many positions at once.

A rule depends on three facts of a position: how many tokens were decoded before it, what the last two were, and which
timestamp came last. `TokenHistory` holds these, so a round's drafted tokens, its verification and a whole
utterance read in parallel use the same code.

The rules (openai/whisper, `decoding.py`; transformers, `WhisperTimeStampLogitsProcessor`):

- suppressed tokens never come, and some never come first;
- with timestamps on, the first token is a timestamp, no later than `max_initial_timestamp`;
- timestamps come in pairs, except before the end; they never decrease, and a segment is never empty;
- a timestamp comes if all timestamps together are more likely than the most likely other token.

`mask` states them over the logits: the reference, used where probabilities are needed. `choose` is its argmax without
a copy of the logits: the vocabulary consists of runs, text < end of text <= special < timestamps < added words (usually
none). Each run is allowed or not as a whole, except a range of the timestamps, so a maximum of each decides. Added
words are text: the rules for text apply to them.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from .special_tokens import SpecialTokens


class TokenHistory(NamedTuple):
    """What the rules must know of T positions in B rows each. Only `decoded` is set where no timestamps are decoded."""

    last: Tensor  # [B, T] the token at the position; what follows it is predicted
    before: Tensor  # [B, T] the token before that one (any, where there is none)
    decoded: Tensor  # [B, T] how many of the tokens up to `last`, itself included, came after the prefix
    timestamp: Tensor  # [B, T] the last timestamp among those, or -1


class LogitsRules:
    """The rules of one model and mode."""

    def __init__(self, special: SpecialTokens, timestamps: bool, vocabulary: Tensor | None, device: torch.device):
        """vocabulary [K]: the token ids that the logits stand for, ascending; None: all."""
        self.timestamps = timestamps
        self.vocabulary = vocabulary
        self.end = special.end
        ids = torch.arange(special.size, device=device) if vocabulary is None else vocabulary
        never = {*special.suppressed}
        if timestamps and special.no_timestamps is not None:
            never.add(special.no_timestamps)
        self.bias = torch.zeros(len(ids), device=device).masked_fill_(among(ids, never), -torch.inf)
        self.first_suppressed = among(ids, special.suppressed_first).nonzero().flatten()  # indices into the logits
        self.timestamp_range = special.timestamps
        self.last_initial = special.size
        if special.max_initial_timestamp is not None:
            self.last_initial = special.timestamps.start + special.max_initial_timestamp
        bounds = torch.tensor([special.end, special.timestamps.start, special.timestamps.stop], device=device)
        self.text, self.others, self.stamped = torch.searchsorted(ids, bounds).tolist()  # where each run ends
        self.timestamp_ids = ids[self.others : self.stamped]

    def choose(self, logits: Tensor, history: TokenHistory, begins: bool = True) -> Tensor:
        """The most likely allowed tokens: logits [B, T, K], `bias` added already -> ids [B, T]. May write into logits.

        begins=False: no position is a row's first.
        """
        if begins and len(self.first_suppressed):
            self._suppress_first(logits, history)
        choice = self._choose_with_timestamps(logits, history) if self.timestamps else logits.argmax(-1)
        return choice if self.vocabulary is None else self.vocabulary[choice]

    def choose_several(self, logits: Tensor, history: TokenHistory, count: int, begins: bool = True) -> Tensor:
        """The `count` most likely allowed tokens, most likely first: logits as for `choose` -> ids [B, T, count].

        Where fewer are allowed, forbidden ones follow them, and where fewer exist, the last one again.
        """
        if count == 1:
            return self.choose(logits, history, begins)[..., None]
        if self.timestamps:
            logits = self.mask(logits, history)
        elif begins and len(self.first_suppressed):
            self._suppress_first(logits, history)
        known = min(count, logits.shape[-1])
        choices = logits.topk(known, -1).indices
        if known < count:  # a draft vocabulary of two tokens, say: the last one again
            choices = torch.cat([choices, choices[..., -1:].expand(*choices.shape[:-1], count - known)], -1)
        return choices if self.vocabulary is None else self.vocabulary[choices]

    def history(self, tokens: Tensor, decoded: Tensor, timestamp: Tensor) -> TokenHistory:
        """Of T positions in a row. tokens [B, T + 1]: the tokens there, and before them the one that precedes them;
        decoded, timestamp [B, 1]: those of the first position."""
        last, before = tokens[:, 1:], tokens[:, :-1]
        length = last.shape[1]
        if length > 1:
            order = torch.arange(length, device=tokens.device)
            decoded = decoded + order
            if self.timestamps:
                stamped = self.are_timestamps(last) & (decoded >= 1)
                seen = torch.where(stamped, order, -1).cummax(1).values  # where the last timestamp is, if it was fed
                timestamp = torch.where(seen >= 0, last.gather(1, seen.clamp(min=0)), timestamp)
        return TokenHistory(last, before, decoded, timestamp)

    def mask(self, logits: Tensor, history: TokenHistory) -> Tensor:
        """logits [B, T, K], `bias` added already -> a copy in float32, -inf where the rules forbid."""
        logits = logits.float().clone()
        if len(self.first_suppressed):
            self._suppress_first(logits, history)
        if not self.timestamps:
            return logits
        first, text_forbidden, lower, upper = self._timestamp_rules(history)
        for text in (logits[..., : self.text], logits[..., self.stamped :]):
            text.masked_fill_((text_forbidden | first)[..., None], -torch.inf)
        logits[..., : self.others].masked_fill_(first[..., None], -torch.inf)
        timestamps = logits[..., self.others : self.stamped]
        outside = (self.timestamp_ids < lower[..., None]) | (self.timestamp_ids > upper[..., None])
        timestamps.masked_fill_(outside, -torch.inf)
        rest = [run for run in (logits[..., : self.others], logits[..., self.stamped :]) if run.shape[-1]]
        comes = timestamps.logsumexp(-1) > torch.stack([run.amax(-1) for run in rest]).amax(0)
        for run in rest:
            run.masked_fill_(comes[..., None], -torch.inf)
        return logits

    def _suppress_first(self, logits: Tensor, history: TokenHistory) -> None:
        first = (history.decoded == 0)[..., None]  # [B, T, 1]
        logits[..., self.first_suppressed] = logits[..., self.first_suppressed].masked_fill(first, -torch.inf)

    def are_timestamps(self, tokens: Tensor) -> Tensor:
        """tokens, of any shape -> the same of bool."""
        return (tokens >= self.timestamp_range.start) & (tokens < self.timestamp_range.stop)

    def _timestamp_rules(self, history: TokenHistory) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> [B, T] each: is it the first token; is text forbidden; the least and the greatest timestamp allowed."""
        last, before, decoded, latest = history
        first = decoded == 0
        last_stamped = self.are_timestamps(last) & (decoded >= 1)
        before_stamped = self.are_timestamps(before) | (decoded < 2)
        text_forbidden = last_stamped & ~before_stamped  # a pair is open: a timestamp or the end must close it
        lower = torch.where(text_forbidden, latest, latest + 1)  # -1 + 1: no timestamp yet, none is too early
        upper = torch.where(first, self.last_initial, torch.iinfo(torch.long).max)
        upper = torch.where(last_stamped & before_stamped, -1, upper)  # a pair is closed: text must come
        return first, text_forbidden, lower, upper

    def _choose_with_timestamps(self, logits: Tensor, history: TokenHistory) -> Tensor:
        first, text_forbidden, lower, upper = self._timestamp_rules(history)
        text, text_choice = self._likeliest_text(logits)
        other, other_choice = logits[..., self.text : self.others].max(-1)
        use_other = text_forbidden | (other > text)
        best = torch.where(use_other, other, text).masked_fill(first, -torch.inf)
        choice = torch.where(use_other, other_choice + self.text, text_choice)
        outside = (self.timestamp_ids < lower[..., None]) | (self.timestamp_ids > upper[..., None])
        timestamps = logits[..., self.others : self.stamped].float().masked_fill(outside, -torch.inf)
        return torch.where(timestamps.logsumexp(-1) > best, timestamps.argmax(-1) + self.others, choice)

    def _likeliest_text(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Value and index of it, added words included: [B, T] each."""
        text, choice = logits[..., : self.text].max(-1)
        if self.stamped == logits.shape[-1]:
            return text, choice
        word, word_choice = logits[..., self.stamped :].max(-1)
        return torch.maximum(text, word), torch.where(word > text, word_choice + self.stamped, choice)


def among(ids: Tensor, some: Iterable[int]) -> Tensor:
    """ids [K] -> [K] whether each is one of `some`."""
    return torch.isin(ids, torch.tensor(sorted(some), dtype=torch.long, device=ids.device))
