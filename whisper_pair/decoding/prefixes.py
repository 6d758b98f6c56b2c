"""What comes before a row's first decoded token: the language is detected, and the prefix is read into the caches."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .decoder import Decoder
from .encoders import Prompts
from .kv_cache import Cross
from .linear import linear, unpacked
from .model_state import ModelState
from .options import Options
from .rows import Row
from .special_tokens import SpecialTokens


def language_tokens(
    main: Decoder, cross: list[Cross], count: int, special: SpecialTokens, options: Options
) -> list[int | None]:
    """The language's token for each of the rows: given, or the most likely after <|startoftranscript|>; None in an
    English-only model. `cross`: the rows' cross-attention keys and values."""
    if not special.languages:
        return [None] * count
    if options.language is not None:
        return [special.language_token(options.language)] * count
    hidden = main.read(torch.full((count, 1), special.start, device=main.device), cross)
    known = torch.tensor(sorted(special.languages.values()), device=main.device)
    found: list[int | None] = known[F.linear(hidden[:, 0], unpacked(main.head)[known]).argmax(-1)].tolist()
    return found


def forced_prefixes(
    special: SpecialTokens, count: int, options: Options, prompts: Prompts, languages: Sequence[str | None] | None
) -> list[list[int]]:
    """The prefixes of `count` windows whose language is known. Raises InputError where it is not."""
    named = languages or [options.language] * count
    if special.languages and None in named:
        raise InputError("language is unset, expected a code such as 'nl': the tokens were decoded under one; name it")
    known = [None if name is None else special.language_token(name) for name in named]
    return [
        special.prefix(language, options.task, options.timestamps, prompt)
        for language, prompt in zip(known, prompts or [None] * count, strict=True)
    ]


def read_prefixes(
    fresh: list[Row], first: int, states: list[ModelState], special: SpecialTokens, options: Options
) -> None:
    """Feed the prefixes of new rows, which take the caches' rows from `first` on, in one forward of each model.
    `states`: the main's and, where it drafts for these rows, the draft's."""
    longest = max(row.start for row in fresh)
    padded = [row.tokens + [special.end] * (longest - row.start) for row in fresh]
    tokens = torch.tensor(padded, device=states[0].decoder.device)
    for state in states:
        cross = state.cache.cross_views(len(fresh), first)
        hidden = state.decoder.read(tokens, cross, state.cache, first)
        if state is states[0] and options.no_speech_threshold is not None:
            read_no_speech_probability(fresh, tokens, hidden, state.decoder, special)
    for row in fresh:
        row.main_cached = row.start - 1
        row.draft_cached = row.start if len(states) > 1 else 0


def read_no_speech_probability(
    rows: list[Row], tokens: Tensor, hidden: Tensor, main: Decoder, special: SpecialTokens
) -> None:
    """The probability of <|nospeech|> after <|startoftranscript|>, before any rule."""
    at = (tokens == special.start).long().argmax(1)  # the prompt holds none: its tokens are text
    logits = linear(hidden[torch.arange(len(rows), device=hidden.device), at], main.head)
    no_speech = logits.float().softmax(-1)[:, special.no_speech]
    for row, value in zip(rows, no_speech.tolist(), strict=True):
        row.no_speech_probability = value
