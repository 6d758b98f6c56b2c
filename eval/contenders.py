"""The ways to decode that are compared, behind one call: log-mel features in, tokens out."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from whisper_pair.decoding import Engine, Options


@dataclass(frozen=True)
class Contender:
    engine: str  # "pair" | "transformers"
    mode: str  # "greedy" | "speculative" | "assisted" | "assistant"
    assistant: str | None  # which one drafts or speaks; None: the main alone
    draft_tokens: int | str | None
    decode: Callable[[Tensor, int], list[list[int]]]  # features [clips, mel, frames], batch size -> tokens of each
    batches: bool = True  # False: one clip at a time only

    @property
    def name(self) -> str:
        parts = [self.engine, self.mode, self.assistant or "", str(self.draft_tokens or "")]
        return " ".join(part for part in parts if part)


def ours(
    engine: Engine, options: Options, mode: str, assistant: str | None, draft_tokens: int | str | None
) -> Contender:
    drafts = 0 if draft_tokens is None else draft_tokens

    def decode(features: Tensor, batch_size: int) -> list[list[int]]:
        asked = replace(options, batch_size=batch_size, draft_tokens=drafts)
        return [decoded.tokens for decoded in engine.decode(features, options=asked)]

    return Contender("pair", mode, assistant, draft_tokens, decode)


def transformers_greedy(main, language: str | None, task: str) -> Contender:
    def decode(features: Tensor, batch_size: int) -> list[list[int]]:
        found = []
        for chunk in features.split(batch_size):
            found += _generate(main, chunk, language, task)
        return found

    return Contender("transformers", "greedy", None, None, decode)


def transformers_assisted(main, draft, assistant: str, language: str | None, task: str) -> Contender:
    """transformers' own speculative decoding, with its default draft schedule; it takes one clip at a time."""

    def decode(features: Tensor, batch_size: int) -> list[list[int]]:
        return [row for chunk in features.split(1) for row in _generate(main, chunk, language, task, draft)]

    return Contender("transformers", "assisted", assistant, None, decode, batches=False)


@contextmanager
def _without_remarks():
    """transformers' assisted generation remarks on its own defaults at every round."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@torch.no_grad()
def _generate(main, features: Tensor, language: str | None, task: str, assistant=None) -> list[list[int]]:
    """Token ids up to and without end-of-text, special tokens left out."""
    given = {"language": language, "task": task} if language is not None else {}
    if assistant is not None:
        given["assistant_model"] = assistant
    with _without_remarks():
        found = main.generate(input_features=features, do_sample=False, num_beams=1, **given)
    end = main.generation_config.eos_token_id
    return [[token for token in row.tolist() if token < end] for row in found]
