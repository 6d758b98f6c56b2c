"""A model ready to decode: its decoder, its output head under the logits rules, and its KV cache."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from .decoder import Branches, Decoder
from .graphs import Graphs
from .kv_cache import Keys, KVCache
from .linear import Weight, linear, packed, unpacked
from .logits_rules import LogitsRules, TokenHistory


class Head(NamedTuple):
    """From hidden states to tokens: the output embedding, or the slice of it that `rules.vocabulary` names."""

    weight: Weight  # [K, d]
    bias: Tensor  # [K] -inf where suppressed
    rules: LogitsRules

    @classmethod
    def of(cls, decoder: Decoder, rules: LogitsRules) -> "Head":
        """The decoder's head under these rules, sliced to their vocabulary."""
        weight = decoder.head if rules.vocabulary is None else packed(unpacked(decoder.head)[rules.vocabulary])
        return cls(weight, rules.bias.to(decoder.dtype), rules)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [B, T, d] -> [B, T, K], -inf where tokens are suppressed everywhere."""
        return linear(hidden, self.weight, self.bias)

    def choose(self, hidden: Tensor, history: TokenHistory, begins: bool = True) -> Tensor:
        """The most likely allowed tokens: hidden [B, T, d] -> ids [B, T]. `begins`: see LogitsRules.choose."""
        return self.rules.choose(self.logits(hidden), history, begins)

    def choose_several(self, hidden: Tensor, history: TokenHistory, count: int, begins: bool = True) -> Tensor:
        """The `count` most likely allowed tokens, most likely first: hidden [B, T, d] -> ids [B, T, count]."""
        return self.rules.choose_several(self.logits(hidden), history, count, begins)

    def masked(self, hidden: Tensor, history: TokenHistory, size: int) -> Tensor:
        """Logits under the rules over the whole vocabulary of `size` tokens, float32: [B, T, size]."""
        masked = self.rules.mask(self.logits(hidden), history)
        if self.rules.vocabulary is None:
            return masked
        return masked.new_full((*masked.shape[:-1], size), -torch.inf).index_copy_(-1, self.rules.vocabulary, masked)


Step = Callable[[Tensor, Tensor, Keys], Tensor]  # tokens [B, T], positions [B, T], keys -> hidden [B, T, d]


class ModelState(NamedTuple):
    """The state of the target (main) or the draft (assistant) model in a call."""

    decoder: Decoder
    head: Head
    cache: KVCache

    def step(self, tokens: Tensor, positions: Tensor, keys: Keys, branches: Branches | None = None) -> Tensor:
        """A forward with the cache: tokens, positions [B, T] -> hidden [B, T, d]."""
        return self.decoder.step(self.cache, tokens, positions, keys, branches)

    def admit(self, states: Sequence[Tensor], first: int) -> None:
        """Take in windows, those of one length in a row: their encoder states [F, d] become the cross-attention keys
        and values of the cache's rows from slot `first` on."""
        self.cache.hold([len(its) for its in states], first)
        for _, alike in groupby(states, len):
            some = torch.stack([*alike])
            self.decoder.cross(some, self.cache.cross_views(len(some), first))
            first += len(some)

    def captured(self, graphs: Graphs) -> Step:
        """The same as a graph of its own, for rounds that come to the host between steps."""

        def step(tokens: Tensor, positions: Tensor, keys: Keys) -> Tensor:
            key = (self.decoder, tuple(tokens.shape), keys)
            return graphs(key, lambda fed, at: self.step(fed, at, keys), tokens, positions)

        return step
