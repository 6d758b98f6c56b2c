"""What is refused, before any heavy work: one sentence each, with the value, the expectation and the mend."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import WhisperForCausalLM, WhisperForConditionalGeneration

from ..errors import InputError
from .decoder import MAX_DRAFT_TOKENS
from .options import Options
from .vocabulary import SpecialTokens


def check_pair(
    main: WhisperForConditionalGeneration, draft: WhisperForCausalLM | WhisperForConditionalGeneration | None
) -> None:
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
            " must come from the same generation of Whisper (large-v3 and its kin: 51866, earlier multilingual: 51865)"
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
    if vocabulary.ndim != 1 or vocabulary.dtype != torch.long:
        raise InputError(
            f"draft_vocabulary is {list(vocabulary.shape)} of {vocabulary.dtype}, expected a 1-D int64 tensor of token"
            " ids"
        )
    if not ((vocabulary >= 0) & (vocabulary < special.size)).all():
        raise InputError(
            f"draft_vocabulary names tokens from {vocabulary.min()} to {vocabulary.max()}, expected within the"
            f" vocabulary's 0 to {special.size - 1}: it was made for another vocabulary; make it anew"
        )
    if not (vocabulary < special.end).any():
        raise InputError("draft_vocabulary holds no text token: list the tokens that the language's labels use")


def check_options(options: Options, special: SpecialTokens) -> None:
    def refuse(name: str, expected: str) -> None:
        raise InputError(f"{name} is {vars(options)[name]!r}, expected {expected}")

    special.check_task(options.task)
    if options.language is not None:
        special.language_token(options.language)
    if options.timestamps and not special.timestamps:
        raise InputError(
            "timestamps were asked for, but the main has none: its generation_config has no no_timestamps_token_id, or"
            " other words stand where they would"
        )
    if options.batch_size < 1:
        refuse("batch_size", "at least 1")
    if options.max_new_tokens is not None and options.max_new_tokens < 1:
        refuse("max_new_tokens", "at least 1, or None for as many as the model holds")
    if options.draft_tokens != "auto" and not (
        isinstance(options.draft_tokens, int) and 0 <= options.draft_tokens <= MAX_DRAFT_TOKENS
    ):
        refuse("draft_tokens", f'"auto" or a whole number from 0 to {MAX_DRAFT_TOKENS}')
    if options.confidence is not None and not 0 <= options.confidence <= 1:
        refuse("confidence", "a probability between 0 and 1, or None")
    if not options.temperatures or not all(0 <= value < math.inf for value in options.temperatures):
        refuse("temperature", "a number from 0 on, or a tuple of them")
    if options.no_speech_threshold is not None:
        if options.log_probability_threshold is None:
            refuse("log_probability_threshold", "a number where no_speech_threshold is set: silence needs both")
        if special.no_timestamps is None:
            raise InputError("no_speech_threshold needs a main with a <|nospeech|> token, which an old one lacks")


def check_window(window: Tensor, index: int, shape: Sequence[int], what: str) -> None:
    """A window of features [mel, frames] or of encoder states [frames, d]."""
    if not isinstance(window, Tensor) or tuple(window.shape) != tuple(shape):
        found = list(window.shape) if isinstance(window, Tensor) else type(window).__name__
        mend = (
            "extract and pad them with the main's own feature extractor"
            if what == "features"
            else "encode them with it"
        )
        raise InputError(f"window {index}: {what} are {found}, this main takes {list(shape)}; {mend}")
    if not torch.isfinite(window).all():
        raise InputError(f"window {index}: {what} hold NaN or infinity; check the audio that they come from")


def check_prompts(prompts: Sequence[Sequence[int] | None], special: SpecialTokens) -> None:
    if special.previous is None and any(prompts):
        raise InputError("previous-text prompts were given, but the main's generation_config has no prev_sot_token_id")
    for index, prompt in enumerate(prompts):
        if prompt and not all(0 <= token < special.size for token in prompt):
            raise InputError(f"prompt {index} holds a token outside the vocabulary's 0 to {special.size - 1}")
