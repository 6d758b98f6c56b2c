"""What a checkpoint folder must hold, checked as a whole before its weights are loaded.

Weights, tokenizer and feature extractor come from different files, and often from different people. A checkpoint whose
tokenizer is missing or another model's would write empty or wrong text silently; so every part is checked against
the model's configuration first. What can be derived is derived and logged; everything else is refused with the fix.
"""

import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from .generation_config import say

ADAPTER = "adapter_config.json"
BYTES = 256  # tokens that any byte-level vocabulary has
NEEDED = ("<|endoftext|>", "<|startoftranscript|>")


def refuse_adapter(folder: Path) -> None:
    """A LoRA adapter is not a checkpoint: transformers would look for its base, or load only the base."""
    if not (folder / ADAPTER).is_file():
        return
    try:
        base = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"] or "BASE"
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        base = "BASE"
    merged = f"{str(folder).rstrip('/')}-merged"
    raise InputError(
        f"{folder}: holds a LoRA adapter and not a whole checkpoint; merge it into its base first, and name {merged}: "
        f"{merge_command(str(base), str(folder), merged)}"
    )


def merge_command(base: str, adapter: str, merged: str) -> str:
    """The shell command that merges a LoRA adapter into its base."""
    lines = (
        "from peft import PeftModel as A",
        "from transformers import WhisperForConditionalGeneration as M, WhisperProcessor as P",
        f"A.from_pretrained(M.from_pretrained({base!r}), {adapter!r}).merge_and_unload().save_pretrained({merged!r})",
        f"P.from_pretrained({base!r}).save_pretrained({merged!r})",
    )
    return f'python -c "{"; ".join(lines)}"'


def checked_processor(folder: Path, config: dict[str, Any]):
    """The checkpoint's WhisperProcessor, which fits its `config` (config.json). Raises InputError."""
    refuse_adapter(folder)
    _check_tokenizer_files(folder)
    processor = _loaded(folder, config)
    _check_tokenizer(folder, processor.tokenizer, config["vocab_size"])
    _check_feature_extractor(folder, processor.feature_extractor, config)
    return processor


def _check_tokenizer_files(folder: Path) -> None:
    whole = (folder / "tokenizer.json").is_file()
    parts = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    if not whole and not parts:
        raise InputError(
            f"{folder}: has no tokenizer (tokenizer.json, or vocab.json, merges.txt and added_tokens.json), without"
            f" which its tokens are no text; {_from_its_base(folder)}."
        )


def _from_its_base(folder: Path) -> str:
    return (
        "copy it from the checkpoint BASE that it was fine-tuned from: "
        f"WhisperTokenizer.from_pretrained(BASE).save_pretrained({str(folder)!r})"
    )


def _loaded(folder: Path, config: dict[str, Any]):
    from transformers import WhisperProcessor, WhisperTokenizer

    try:
        if _has_feature_extractor(folder):
            return WhisperProcessor.from_pretrained(folder, trust_remote_code=False)
        tokenizer = WhisperTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # damaged files raise many kinds
        raise InputError(f"{folder}: its processor cannot be loaded ({' '.join(str(error).split())[:200]}).") from error
    return WhisperProcessor(_feature_extractor_for(folder, config), tokenizer)


def _has_feature_extractor(folder: Path) -> bool:
    if (folder / "preprocessor_config.json").is_file():
        return True
    try:
        return "feature_extractor" in json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError, RecursionError):
        return True  # damaged: the loader says how


def _feature_extractor_for(folder: Path, config: dict[str, Any]):
    """Whisper has one, but for the number of mel bins and the window's length, which the model knows."""
    from transformers import WhisperFeatureExtractor

    bins, frames = _mel_bins(config), _frames(config)
    if frames % 100:
        raise InputError(
            f"{folder}: has no feature extractor (preprocessor_config.json), and its windows of {frames} frames are no "
            "whole seconds; copy the file from the checkpoint that it was fine-tuned from."
        )
    say(f"{folder}: has no feature extractor; Whisper's for {bins} mel bins and {frames // 100} s is taken.")
    return WhisperFeatureExtractor(feature_size=bins, chunk_length=frames // 100)


def _check_tokenizer(folder: Path, tokenizer, size: int) -> None:
    names = tokenizer.get_vocab()
    lacking = [name for name in NEEDED if name not in names]
    if lacking or names[NEEDED[0]] < BYTES:
        what = f"lacks {lacking[0]}" if lacking else f"has {names[NEEDED[0]]} tokens of text"
        raise InputError(
            f"{folder}: its tokenizer {what}, so it is not Whisper's complete one; {_from_its_base(folder)}."
        )
    name, last = max(names.items(), key=lambda item: item[1])
    if last >= size:
        raise InputError(
            f"{folder}: its tokenizer has {name!r} at {last}, beyond the model's {size} embeddings; take the tokenizer "
            "of this checkpoint, or give the model those of the added tokens: model.resize_token_embeddings"
            "(len(tokenizer)), and train them."
        )


def _check_feature_extractor(folder: Path, extractor, config: dict[str, Any]) -> None:
    held = {
        "feature_size": (extractor.feature_size, _mel_bins(config), "the model's num_mel_bins"),
        "nb_max_frames": (extractor.nb_max_frames, _frames(config), "the model's max_source_positions, doubled"),
        "sampling_rate": (extractor.sampling_rate, 16_000, "Whisper's"),
    }
    for key, (found, wanted, whose) in held.items():
        if found != wanted:
            raise InputError(
                f"{folder}: its feature extractor has {key} {found}, expected {wanted}, {whose}; remove its "
                "preprocessor_config.json and processor_config.json, and the one that the model needs is used."
            )


def _mel_bins(config: dict[str, Any]) -> int:
    return config.get("num_mel_bins", 80)


def _frames(config: dict[str, Any]) -> int:
    """Of a window of 0.01 s frames; the encoder halves them."""
    return 2 * config.get("max_source_positions", 1500)
