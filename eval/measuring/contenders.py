"""The ways to decode that are compared, behind one call: log-mel features in, tokens out."""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from whisper_pair.decoding import Decoded, Engine, Options, SpecialTokens
from whisper_pair.report import DraftTokens

from .engines import Assistant, Engines


@dataclass(frozen=True)
class Hypothesis:
    """One contender's transcript of one clip."""

    tokens: list[int]  # text alone, up to end-of-text
    decoded: Decoded | None = None  # with our engine's counters


@dataclass(frozen=True)
class Contender:
    """A way to decode, with the words by which the report names it."""

    engine: str  # "pair" | "transformers" | "faster-whisper"
    mode: str  # "greedy" | "speculative" | "assisted" | "assistant"
    assistant: str | None  # which one drafts or decodes; None: the main alone
    draft_tokens: DraftTokens | None
    decode: Callable[[Tensor, int], list[Hypothesis]]  # features [clips, mel, frames], batch size -> each clip's
    batches: bool = True  # False: one clip at a time only
    schedule: str | None = None  # how the draft length changes: "constant", "auto", or transformers' own


def contenders_of(engines: Engines, options: Options, draft_tokens: Sequence[int]) -> list[Contender]:
    """Our engine's, with and without its assistants, and transformers'. Our greedy comes first: the baseline."""
    main, assistants = engines.main, engines.assistants
    if not assistants:
        return [ours(engines.judged, options, "greedy", None, None), transformers_greedy(main, options)]
    judged = assistants[0]
    found = [ours(engines.judged, options, "greedy", None, None)]
    for assistant in assistants:
        found.append(ours(engines.pair(assistant), options, "speculative", assistant.name, "auto"))
    found += [ours(engines.judged, options, "speculative", judged.name, count) for count in draft_tokens]
    found.append(ours(engines.alone(judged), options, "assistant", judged.name, None))
    found.append(transformers_greedy(main, options))
    models = {id(assistant.model): assistant for assistant in reversed(assistants)}  # it knows no smaller heads
    found += [transformers_assisted(main, assistant, options) for assistant in reversed(models.values())]
    return found


def ours(engine: Engine, options: Options, mode: str, name: str | None, drafts: DraftTokens | None) -> Contender:
    """Our engine. `drafts` None: its main alone."""

    def decode(features: Tensor, batch_size: int) -> list[Hypothesis]:
        its = replace(options, batch_size=batch_size, draft_tokens=0 if drafts is None else drafts)
        return [Hypothesis(engine.special.text(d.tokens), d) for d in engine.decode(features, options=its)]

    schedule = None if drafts is None else "auto" if drafts == "auto" else "constant"
    return Contender("pair", mode, name, drafts, decode, schedule=schedule)


def transformers_greedy(main, options: Options) -> Contender:
    """transformers' `generate` with the main alone."""

    def decode(features: Tensor, batch_size: int) -> list[Hypothesis]:
        return [row for chunk in features.split(batch_size) for row in _generate(main, chunk, options)]

    return Contender("transformers", "greedy", None, None, decode)


def transformers_assisted(main, assistant: Assistant, options: Options) -> Contender:
    """transformers' own speculative decoding, as the assistant's generation_config sets it; one clip at a time."""

    def decode(features: Tensor, batch_size: int) -> list[Hypothesis]:
        return [row for chunk in features.split(1) for row in _generate(main, chunk, options, assistant.model)]

    settings = assistant.model.generation_config
    count, schedule = settings.num_assistant_tokens, settings.num_assistant_tokens_schedule
    return Contender("transformers", "assisted", assistant.name, count, decode, batches=False, schedule=schedule)


@contextmanager
def _without_warnings():
    """transformers' assisted generation warns of its own defaults at every round."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@torch.no_grad()
def _generate(main, features: Tensor, options: Options, assistant=None) -> list[Hypothesis]:
    special = SpecialTokens.of(main)
    given = {"language": options.language, "task": options.task} if special.languages else {}
    if assistant is not None:
        given["assistant_model"] = assistant
    with _without_warnings():
        found = main.generate(input_features=features, do_sample=False, num_beams=1, **given)
    return [Hypothesis(special.text(row.tolist())) for row in found]
