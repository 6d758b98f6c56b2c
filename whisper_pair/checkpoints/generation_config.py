"""A checkpoint's generation_config, completed from its tokenizer, which transformers and this engine then share.

Checkpoints come with generation configs that are missing, of 2022 (no languages and tasks in them), of another model,
or full of a library's defaults. The tokenizer knows every special token's id, and its text decides whether the model is
multilingual. What is changed is changed in memory and logged in one line; ids that contradict the tokenizer's are
refused, since it is impossible to tell which of the two is the model's.
"""

import logging
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeGuard

from ..errors import InputError
from ..text import CONTROL

logger = logging.getLogger(__name__)

GENERATION_CONFIG_FILE = "generation_config.json"
GPT2_END, WHISPER_END = 50256, 50257  # <|endoftext|> in OpenAI's English-only and multilingual vocabularies
LIBRARY_LENGTH = 20  # transformers' default of max_length, which nobody chose
TASKS = ("transcribe", "translate")
NAMED = {
    "eos_token_id": "<|endoftext|>",
    "decoder_start_token_id": "<|startoftranscript|>",
    "no_timestamps_token_id": "<|notimestamps|>",
    "prev_sot_token_id": "<|startofprev|>",
}
NEUTRAL = {  # transformers bends the likelihoods by these, and greedy decoding here does not
    "repetition_penalty": (None, 1, 1.0),
    "encoder_repetition_penalty": (None, 1, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "max_new_tokens": (None,),
    "bad_words_ids": (None,),
    "sequence_bias": (None,),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
}


@cache
def say(line: str) -> None:
    """Logs once a run, on one of its processes."""
    if os.environ.get("RANK", "0") == "0":
        logger.warning(line)


def completed(folder: Path, tokenizer):
    """The GenerationConfig of a checkpoint, completed. Raises InputError where it contradicts the tokenizer, or cannot
    be read."""
    from transformers import GenerationConfig, WhisperConfig

    try:
        model_config = WhisperConfig.from_pretrained(folder)
        stored = (folder / GENERATION_CONFIG_FILE).is_file()  # else there may be a part of it in config.json
        config = (
            GenerationConfig.from_pretrained(folder) if stored else GenerationConfig.from_model_config(model_config)
        )
        _complete(config, model_config, tokenizer, folder)
    except InputError:
        raise
    except Exception as error:  # damaged files and values raise many kinds
        raise InputError(
            f"{folder}: its {GENERATION_CONFIG_FILE} cannot be read ({' '.join(str(error).split())[:200]})."
        ) from error
    return config


def _complete(config, model_config, tokenizer, folder: Path) -> None:
    _check_values(config, model_config.vocab_size, folder)
    names = tokenizer.get_vocab()
    added = _complete_ids(config, names, folder)
    added += _complete_languages(config, names, folder)
    lines = [f"{', '.join(added)} completed from the tokenizer"] if added else []
    _mark_what_lies_beyond(config, tokenizer, model_config.vocab_size)
    lines += _free_lengths(config, model_config.max_target_positions)
    lines += _ignored(config)
    lines += _fit_alignment_heads(config, model_config)
    config._from_model_config = False  # else saving drops lang_to_id and the like
    if lines:
        say(f"{folder}: generation_config: {'; '.join(lines)}.")


def _check_values(config, size: int, folder: Path) -> None:
    """Raises InputError; ids of a larger vocabulary that are never to be decoded are dropped."""

    def refuse(key: str, expected: str):
        raise InputError(f"{folder}/{GENERATION_CONFIG_FILE}: {key} is {getattr(config, key)!r}, expected {expected}.")

    for key in ("suppress_tokens", "begin_suppress_tokens"):
        ids = getattr(config, key, None)
        if ids is not None and not (isinstance(ids, list) and all(type(token) is int for token in ids)):
            refuse(key, "a list of token ids")
        setattr(config, key, ids and [token for token in ids if 0 <= token < size])
    for key, least in (("max_length", 1), ("max_initial_timestamp_index", 0)):
        value = getattr(config, key, None)
        if value is not None and not (type(value) is int and value >= least):
            refuse(key, f"a whole number from {least} on")


def is_multilingual(names: dict[str, int], config: dict) -> bool:
    """`names`: the tokenizer's, token -> id; `config`: what the generation config holds.

    OpenAI's two vocabularies are recognised by their text: GPT-2's, which English-only models have, is one token
    shorter, and its tokenizer names languages too. In others there are languages and tasks, or there are none; the
    generation config decides where it says "not multilingual" and names no language.
    """
    end = names["<|endoftext|>"]
    if end == GPT2_END:
        return False
    if not languages_of(names) or "<|transcribe|>" not in names:
        return False
    return end == WHISPER_END or config.get("is_multilingual") is not False or bool(config.get("lang_to_id"))


def languages_of(names: dict[str, int]) -> dict[str, int]:
    """Token, such as <|nl|>, -> id of the languages that Whisper knows."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    found = {f"<|{code}|>": names.get(f"<|{code}|>") for code in LANGUAGES}
    return {name: token for name, token in found.items() if token is not None}


def _complete_ids(config, names: dict[str, int], folder: Path) -> list[str]:
    added = []
    for key, name in NAMED.items():
        found, wanted = getattr(config, key, None), names.get(name)
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if found is None and wanted is not None:
            added.append(key)
        elif wanted is not None and found != wanted:
            raise _contradiction(folder, key, found, name, wanted)
        setattr(config, key, wanted if wanted is not None else found)
    return added


def _complete_languages(config, names: dict[str, int], folder: Path) -> list[str]:
    held = config.to_dict()
    multilingual, added = is_multilingual(names, held), []
    if held.get("is_multilingual") is not multilingual:
        added.append(f"is_multilingual={str(multilingual).lower()}")
        config.is_multilingual = multilingual
    if not multilingual:
        for key in ("lang_to_id", "task_to_id", "language", "task", "forced_decoder_ids"):
            if vars(config).get(key) is not None:
                delattr(config, key) if key.endswith("_to_id") else setattr(config, key, None)
        return added
    if not held.get("lang_to_id"):
        config.lang_to_id = languages_of(names)
        config.forced_decoder_ids = None  # what a checkpoint of 2022 has in their place
        added.append("lang_to_id")
    if not held.get("task_to_id"):
        config.task_to_id = {task: names[f"<|{task}|>"] for task in TASKS if f"<|{task}|>" in names}
        added.append("task_to_id")
    for key, ids in (("lang_to_id", config.lang_to_id), ("task_to_id", config.task_to_id)):
        for name, token in ids.items():
            token_name = f"<|{name.strip('<|>')}|>"
            if names.get(token_name) != token:
                raise _contradiction(folder, f"{key}[{name!r}]", token, token_name, names.get(token_name))
    return added


def _contradiction(folder: Path, key: str, found, name: str, wanted: int | None) -> InputError:
    has = "has no such token" if wanted is None else f"has it at {wanted}"
    return InputError(
        f"{folder}: its generation_config has {key} {found!r}, but the tokenizer, which calls that token {name}, {has};"
        " take tokenizer and generation_config from the checkpoint that it was fine-tuned from, or remove "
        "generation_config.json, which is then completed from the tokenizer."
    )


def timestamps_of(tokenizer, no_timestamps: int, size: int) -> range:
    """The ids of the timestamps in a vocabulary of `size` ids.

    Tokenizers of 2022 do not name them: they end with <|notimestamps|>, and the ids after it are times.
    """
    from ..decoding import TIMESTAMPS

    first, names = no_timestamps + 1, tokenizer.get_vocab()
    if max(names.values()) < first:
        return range(first, min(first + TIMESTAMPS, size))
    last = first
    while names.get(f"<|{(last - first) * 0.02:.2f}|>") == last:
        last += 1
    return range(first, last)


def _mark_what_lies_beyond(config, tokenizer, size: int) -> None:
    """Says which ids are times and which are added words, where the vocabulary goes on after the times, and suppresses
    ids that no token has: padding up to a round size."""
    for key in ("last_timestamp_token_id", "added_word_ids"):
        vars(config).pop(key, None)  # of the vocabulary before it was changed
    if config.no_timestamps_token_id is None:
        return
    times = timestamps_of(tokenizer, config.no_timestamps_token_id, size)
    tokens = tokenizer.get_vocab()
    known = set(tokens.values()) | set(times)
    padding = sorted(set(range(size)) - known - set(config.suppress_tokens or ()))
    if padding:
        config.suppress_tokens = [*(config.suppress_tokens or ()), *padding]
    if times.stop < size:
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        config.last_timestamp_token_id = times.stop - 1
        config.added_word_ids = sorted(
            token
            for name, token in tokens.items()
            if token > config.eos_token_id and token not in special and not CONTROL.fullmatch(name)
        )


def _free_lengths(config, positions: int) -> list[str]:
    """Removes a limit that is a library's default, and warns about one that someone chose."""
    length = config.max_length
    if length is None or length == LIBRARY_LENGTH:
        config.max_length = positions
    if length is None or length >= positions:
        return []
    if length == LIBRARY_LENGTH:
        return [f"max_length {length}, transformers' default, would cut transcripts; {positions} is used"]
    return [f"max_length {length} ends transcripts before the model's {positions} tokens"]


def _ignored(config) -> list[str]:
    found = [key for key, neutral in NEUTRAL.items() if getattr(config, key, None) not in neutral]
    ignored = [f"{key}={getattr(config, key)!r}" for key in found]
    for key in found:
        setattr(config, key, NEUTRAL[key][-1])
    return [f"{', '.join(ignored)} ignored"] if ignored else []


def _fit_alignment_heads(config, model_config) -> list[str]:
    heads = vars(config).get("alignment_heads")
    if heads is None or fits(heads, model_config):
        return []
    config.alignment_heads = default_alignment_heads(model_config)
    layers, count = model_config.decoder_layers, model_config.decoder_attention_heads
    return [
        f"alignment_heads are those of another model than this one of {layers} decoder layers and {count} heads; word "
        "times follow all heads of the upper half of its layers"
    ]


def fits(heads: object, model_config) -> TypeGuard[Sequence[Sequence[int]]]:
    """Are these (layer, head) pairs of this decoder?"""
    layers, count = model_config.decoder_layers, model_config.decoder_attention_heads

    def within(pair) -> bool:
        whole = isinstance(pair, Sequence) and len(pair) == 2 and all(type(number) is int for number in pair)
        return whole and 0 <= pair[0] < layers and 0 <= pair[1] < count

    return isinstance(heads, Sequence) and len(heads) > 0 and all(map(within, heads))


def default_alignment_heads(model_config) -> list[list[int]]:
    """All heads of the upper half of the decoder's layers, as openai/whisper takes where it knows none."""
    layers, count = model_config.decoder_layers, model_config.decoder_attention_heads
    return [[layer, head] for layer in range(layers // 2, layers) for head in range(count)]
