"""A model ready to decode: its decoder, its output head under the logits rules, and its KV cache."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .decoder import Branches, Decoder
from .graphs import Graphs
from .kv_cache import KVCache
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


Step = Callable[[Tensor, Tensor, int], Tensor]  # tokens [B, T], positions [B, T], key_length -> hidden [B, T, d]


class ModelState(NamedTuple):
    """The state of the target (main) or the draft (assistant) model in a call."""

    decoder: Decoder
    head: Head
    cache: KVCache

    def step(self, tokens: Tensor, positions: Tensor, key_length: int, branches: Branches | None = None) -> Tensor:
        """A forward with the cache: tokens, positions [B, T] -> hidden [B, T, d]."""
        return self.decoder.step(self.cache, tokens, positions, key_length, branches)

    def captured(self, graphs: Graphs) -> Step:
        """The same as a graph of its own, for rounds that come to the host between steps."""

        def step(tokens: Tensor, positions: Tensor, key_length: int) -> Tensor:
            key = (self.decoder, tuple(tokens.shape), key_length)
            return graphs(key, lambda fed, at: self.step(fed, at, key_length), tokens, positions)

        return step
