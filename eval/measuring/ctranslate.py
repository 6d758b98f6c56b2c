"""faster-whisper as a contender, where it is installed: the same weights in CTranslate2's engine, plain greedy.

The main is converted into a temporary folder. Its model is called directly, features to tokens as for every other
contender; what faster_whisper does around it (voice detection, fallbacks, segments) is left out. Features reach it
through the host, as faster_whisper's own do.
"""

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whisper_pair.decoding import Options, SpecialTokens

from .contenders import Contender, Hypothesis

TYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def installed() -> bool:
    """Whether faster-whisper and its engine can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("faster_whisper", "ctranslate2"))


def contenders(main, main_at: Path, options: Options) -> tuple[list[Contender], list[str]]:
    """The contender, or a sentence that says why there is none."""
    if not installed():
        return [], ["faster-whisper, which is not installed (`pip install faster-whisper`)."]
    try:
        return [faster_whisper(main, main_at, options)], []
    except Exception as error:  # CTranslate2 raises many kinds for what it cannot convert or compute
        reason = " ".join(str(error).split())[:200]
        return [], [f"faster-whisper, which cannot take this main in {TYPES[main.dtype]} ({reason})."]


def faster_whisper(main, main_at: Path, options: Options) -> Contender:
    """The main in CTranslate2's engine.

    Raises what CTranslate2 raises for a checkpoint that it cannot convert, or a type that it cannot compute in.
    """
    import ctranslate2
    from faster_whisper import WhisperModel

    kind, device = TYPES[main.dtype], main.device.type
    with tempfile.TemporaryDirectory() as folder:
        converter = ctranslate2.converters.TransformersConverter(str(main_at), copy_files=["tokenizer.json"])
        converter.convert(folder, quantization=kind, force=True)
        model = WhisperModel(folder, device=device, compute_type=kind, cpu_threads=torch.get_num_threads()).model
    special = SpecialTokens.of(main)
    arguments = settings(special, options)

    def decode(features: Tensor, batch_size: int) -> list[Hypothesis]:
        found = []
        for chunk in features.split(batch_size):
            given = ctranslate2.StorageView.from_array(chunk.float().cpu().numpy())
            rows = model.generate(given, **arguments | {"prompts": arguments["prompts"] * len(chunk)})
            found += [Hypothesis(special.text(row.sequences_ids[0])) for row in rows]
        return found

    return Contender("faster-whisper", "greedy", None, None, decode)


def settings(special: SpecialTokens, options: Options) -> dict[str, Any]:
    """Arguments for CTranslate2's Whisper.generate, so that it does the same work: the same prefix, the same tokens
    suppressed, no beam, and at most as many tokens. CTranslate2 halves `max_length`, and counts the prefix in."""
    language = None if options.language is None else special.language_token(options.language)
    prefix = special.prefix(language, options.task, options.timestamps, None)
    new = special.limit(len(prefix), options.max_new_tokens) - len(prefix)
    return {
        "prompts": [prefix],
        "beam_size": 1,
        "max_length": max(2 * new, len(prefix) + new),
        "suppress_tokens": list(special.suppressed) or None,
        "suppress_blank": bool(special.suppressed_first),
    }
