"""How large the sizes in a checkpoint's own files may be: what they claim is built before any weight is read.

The largest Whisper has 32 layers of width 1280; a claim of 10^9 layers would fill memory, or never end.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError

MODEL = {  # of config.json; far above any Whisper, far below what is harmful
    "vocab_size": 1_000_000,
    "d_model": 16_384,
    "encoder_layers": 256,
    "decoder_layers": 256,
    "encoder_attention_heads": 512,
    "decoder_attention_heads": 512,
    "encoder_ffn_dim": 131_072,
    "decoder_ffn_dim": 131_072,
    "num_hidden_layers": 256,
    "num_mel_bins": 1_024,
    "max_source_positions": 100_000,
    "max_target_positions": 100_000,
}
EXTRACTOR = {  # of preprocessor_config.json, or of the part of processor_config.json
    "chunk_length": 120,  # seconds
    "n_samples": 120 * 48_000,
    "nb_max_frames": 100_000,
    "feature_size": 1_024,
    "n_fft": 1 << 16,
    "hop_length": 1 << 16,
    "sampling_rate": 768_000,
}
LONGEST = 1 << 24  # bytes of such a file


def check_model(config: Mapping[str, Any], file: Path) -> None:
    """InputError for a config.json whose sizes no Whisper has."""
    _check(config, MODEL, file)


def check_weights(config: Mapping[str, Any], folder: Path, decoder_only: bool) -> None:
    """InputError for a model of more parameters than its weights have bytes: missing ones would be random."""
    wide = {name: size for name in MODEL if isinstance(size := config.get(name), int)}
    if not {"vocab_size", "d_model", "decoder_layers", "decoder_ffn_dim"} <= wide.keys():
        return  # transformers' defaults, which are small
    width = wide["d_model"]
    layers = wide["decoder_layers"] * (8 * width + 2 * wide["decoder_ffn_dim"]) * width
    if not decoder_only and {"encoder_layers", "encoder_ffn_dim"} <= wide.keys():
        layers += wide["encoder_layers"] * (4 * width + 2 * wide["encoder_ffn_dim"]) * width
    parameters = layers + wide["vocab_size"] * width
    there = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if parameters > there:
        raise InputError(
            f"{folder}: config.json states {parameters:,} parameters, its weights have {there:,} bytes; fetch the "
            "checkpoint again."
        )


def check_extractor(folder: Path) -> None:
    """InputError for a folder whose feature extractor would be of sizes that no Whisper has."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        file = folder / name
        if not file.is_file():
            continue
        try:
            if file.stat().st_size > LONGEST:
                raise ValueError(f"it has more than {LONGEST} bytes")
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{file}: cannot be read as JSON ({' '.join(str(error).split())[:100]}).") from error
        for part in (found, found.get("feature_extractor")) if isinstance(found, dict) else ():
            if isinstance(part, dict):
                _check(part, EXTRACTOR, file)


def _check(sizes: Mapping[str, Any], most: Mapping[str, int], file: Path) -> None:
    for name, limit in most.items():
        value = sizes.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value <= limit:
            found = str(value)[:20]
            raise InputError(f"{file}: {name} is {found}, where {limit} is far too much; fetch the checkpoint again.")
