"""What is refused, before any heavy work: one sentence each, with the value, the expectation and the fix."""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor
from transformers import WhisperForCausalLM, WhisperForConditionalGeneration

from ..errors import InputError
from .kv_cache import MAX_DRAFT_TOKENS
from .options import Options
from .special_tokens import SpecialTokens
from .tree import DraftTree

COLDEST, HOTTEST = 1e-3, 1e3  # temperatures above 0; past them logits overflow, or no longer count
MOST_ROWS = 4096  # decoded at once; each takes its part of the caches


def check_pair(
    main: WhisperForConditionalGeneration, draft: WhisperForCausalLM | WhisperForConditionalGeneration | None
) -> None:
    """Raises InputError where the draft cannot propose tokens to the main."""
    if not isinstance(main, WhisperForConditionalGeneration):
        raise InputError(
            f"the main is a {type(main).__name__}, expected a WhisperForConditionalGeneration: load it with"
            " AutoModelForSpeechSeq2Seq"
        )
    if draft is None:
        return
    if not isinstance(draft, WhisperForCausalLM | WhisperForConditionalGeneration):
        raise InputError(
            f"the assistant is a {type(draft).__name__}, expected a WhisperForCausalLM (sharing the main's encoder) or"
            " a WhisperForConditionalGeneration (with its own)"
        )
    if draft.device != main.device:
        raise InputError(f"the assistant is on {draft.device} and the main on {main.device}: move one to the other's")
    ours, theirs = main.config, draft.config
    if theirs.vocab_size != ours.vocab_size:
        raise InputError(
            f"the assistant's vocabulary has {theirs.vocab_size} tokens and the main's {ours.vocab_size}: an assistant"
            " must come from the same generation of Whisper (large-v3 and later: 51866, earlier multilingual: 51865)"
        )
    if theirs.max_target_positions < ours.max_target_positions:
        raise InputError(
            f"the assistant holds {theirs.max_target_positions} token positions, expected the main's"
            f" {ours.max_target_positions} or more: take an assistant of full length"
        )
    if theirs.decoder_layers > ours.decoder_layers:
        raise InputError(
            f"the assistant's decoder has {theirs.decoder_layers} layers and the main's {ours.decoder_layers}: an"
            " assistant must be the smaller of the two; swap them or leave the assistant out"
        )
    if isinstance(draft, WhisperForCausalLM) and theirs.d_model != ours.d_model:
        raise InputError(
            f"the assistant's width is {theirs.d_model} and the main's encoder gives {ours.d_model}: a decoder-only"
            " assistant must be cut from a model with this encoder; or give one with its own encoder"
        )
    if isinstance(draft, WhisperForConditionalGeneration):
        for name, what in (("num_mel_bins", "mel bins"), ("max_source_positions", "encoder frames")):
            one, other = theirs.to_dict()[name], ours.to_dict()[name]
            if one != other:
                raise InputError(
                    f"the assistant's own encoder takes {one} {what} and the main's {other}: both must read the same"
                    " features"
                )


def check_draft_vocabulary(vocabulary: Tensor, special: SpecialTokens) -> None:
    """Raises InputError unless it is a list of token ids [K] that holds text."""
    if vocabulary.ndim != 1 or vocabulary.dtype != torch.long:
        raise InputError(
            f"draft_vocabulary is {list(vocabulary.shape)} of {vocabulary.dtype}, expected a 1-D int64 tensor of token"
            " ids"
        )
    if not ((vocabulary >= 0) & (vocabulary < special.size)).all():
        raise InputError(
            f"draft_vocabulary names tokens from {vocabulary.min()} to {vocabulary.max()}, expected within the"
            f" vocabulary's 0 to {special.size - 1}: it was made for another vocabulary; make it again"
        )
    if not (vocabulary < special.end).any():
        raise InputError("draft_vocabulary holds no text token: list the tokens that the language's labels use")


def checked_options(options: Options, special: SpecialTokens) -> Options:
    """The options in Python's own types, whatever numbers they were given as. Raises InputError for a wrong value."""
    if not isinstance(options, Options):
        raise InputError(f"options are {shown(options)}, expected an Options")
    found = {}
    for name, (expected, read) in ACCEPTED.items():
        try:
            found[name] = read(vars(options)[name])
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{name} is {shown(vars(options)[name])}, expected {expected}") from None
    options = Options(**found)
    special.check_task(options.task)
    if options.language is not None:
        special.language_token(options.language)
    if options.timestamps and not special.timestamps:
        raise InputError(
            "timestamps were asked for, but the main has none: its generation_config has no no_timestamps_token_id, or"
            " other words stand where they would"
        )
    if options.no_speech_threshold is not None:
        if options.log_probability_threshold is None:
            raise InputError(
                "log_probability_threshold is None, expected a number where no_speech_threshold is set: silence needs"
                " both"
            )
        _ = special.no_speech
    return options


def shown(value: object) -> str:
    """A value of any type, short enough for a sentence and on one line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # the user's own __repr__
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def whole(least: int, most: float = math.inf) -> Callable[[Any], int]:
    """Reads a whole number from `least` to `most`. Like all readers it raises TypeError or ValueError for others."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not least <= (number := operator.index(value)) <= most:
            raise ValueError
        return number

    return read


def number(least: float = -math.inf, most: float = math.inf) -> Callable[[Any], float]:
    """Reads a real number from `least` to `most`."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError
        if not least <= (found := float(value)) <= most:  # NaN is in no range
            raise ValueError
        return found

    return read


def text(value: object) -> str:
    """Reads a string."""
    if not isinstance(value, str):
        raise TypeError
    return str(value)


def truth(value: object) -> bool:
    """Reads True or False, NumPy's too."""
    if isinstance(value, bool):
        return value
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's, by either of its names
        raise TypeError
    return bool(value)


def optional(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Reads None, or what `read` reads."""
    return lambda value: None if value is None else read(value)


def drafts(value: object) -> int | str | DraftTree:
    """Reads a draft length, a tree of drafts or "auto"."""
    if isinstance(value, DraftTree):
        return value
    return "auto" if isinstance(value, str) and value == "auto" else whole(0, MAX_DRAFT_TOKENS)(value)


def temperatures(value: object) -> float | tuple[float, ...]:
    """Reads one temperature or several."""
    if isinstance(value, tuple | list):
        if not value:
            raise ValueError
        return tuple(map(temperature, value))
    return temperature(value)


def temperature(value: object) -> float:
    """Reads a temperature that float32 logits can be divided by."""
    found = number(0, HOTTEST)(value)
    if 0 < found < COLDEST:
        raise ValueError
    return found


ACCEPTED: dict[str, tuple[str, Callable[[Any], Any]]] = {  # each of Options: what is expected, and how it is read
    "language": ("a language's code or English name, or None", optional(text)),
    "task": ("'transcribe' or 'translate'", text),
    "timestamps": ("True or False", truth),
    "max_new_tokens": ("a whole number, at least 1, or None for as many as the model holds", optional(whole(1))),
    "batch_size": (f"a whole number, at least 1 and at most {MOST_ROWS}", whole(1, MOST_ROWS)),
    "draft_tokens": (f'"auto", a whole number from 0 to {MAX_DRAFT_TOKENS} or a DraftTree', drafts),
    "confidence": ("a probability between 0 and 1, or None", optional(number(0, 1))),
    "temperature": (f"0, or a number from {COLDEST:g} to {HOTTEST:g}, or a list of them", temperatures),
    "seed": ("a whole number of at most 63 bits, or None", optional(whole(-(2**63), 2**63 - 1))),
    "compression_ratio_threshold": ("a number or None", optional(number())),
    "log_probability_threshold": ("a number or None", optional(number())),
    "no_speech_threshold": ("a number or None", optional(number())),
    "log_probabilities": ("True or False", truth),
}


def check_window(window: Tensor, index: int, shape: Sequence[int], what: str, step: int = 1) -> None:
    """Raises InputError unless it is a window of features [mel, frames] or of encoder states [frames, d]. It may have
    fewer frames than `shape`, a multiple of `step`."""
    time = 1 if what == "features" else 0
    fits = isinstance(window, Tensor) and window.ndim == 2 and window.shape[1 - time] == shape[1 - time]
    if not fits or window.shape[time] not in range(step, shape[time] + 1, step):
        found = list(window.shape) if isinstance(window, Tensor) else type(window).__name__
        fix = (
            "extract and pad them with the main's own feature extractor"
            if what == "features"
            else "encode them with it"
        )
        fewer = "fewer frames" if step == 1 else f"fewer frames, a multiple of {step}"
        raise InputError(f"window {index}: {what} are {found}, this main takes {list(shape)}, or {fewer}; {fix}")
    if not torch.isfinite(window).all():
        raise InputError(f"window {index}: {what} hold NaN or infinity; check the audio that they come from")


def checked_prompts(prompts: Sequence[Sequence[int] | None] | None, special: SpecialTokens) -> list[list[int] | None]:
    """Previous text as lists of token ids, where it is text and timestamps alone; a first <|startofprev|> may open it.

    Raises InputError for any other token: one that steers the model would make it decode something else.
    """
    if prompts is not None and not isinstance(prompts, Iterable):
        raise InputError(f"prompts are {shown(prompts)}, expected a list with one for each window")
    return [checked_prompt(prompt, index, special) for index, prompt in enumerate(() if prompts is None else prompts)]


def checked_prompt(prompt: Sequence[int] | None, index: int, special: SpecialTokens) -> list[int] | None:
    """One prompt's token ids; None where it is empty. Raises InputError as `checked_prompts` does."""
    try:
        tokens = [] if prompt is None or isinstance(prompt, str | bytes) else [whole(-(2**63))(one) for one in prompt]
        readable = not isinstance(prompt, str | bytes)
    except (TypeError, ValueError, OverflowError):
        readable = False
    if not readable:
        raise InputError(f"prompt {index} is {shown(prompt)}, expected a list of token ids, or None")
    if not tokens:
        return None
    if special.previous is None:
        raise InputError("previous-text prompts were given, but the main's generation_config has no prev_sot_token_id")
    if not all(0 <= token < special.size for token in tokens):
        raise InputError(f"prompt {index} holds a token outside the vocabulary's 0 to {special.size - 1}")
    steering = [token for at, token in enumerate(tokens) if special.steers(token) and
                (at or token != special.previous)]  # fmt: skip
    if steering:
        raise InputError(f"prompt {index} holds the control token {steering[0]}; previous text is text alone")
    return tokens
