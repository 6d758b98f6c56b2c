"""faster-whisper as a contender, where it is installed: the same weights in CTranslate2's engine, plain greedy.

The main is converted into a folder that is thrown away once it is loaded. Its model is asked directly, features to
tokens as everyone else; what faster_whisper does around it (voice detection, fallbacks, segments) is left out.
"""

import importlib.util
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from whisper_pair.decoding import Options
from whisper_pair.decoding.vocabulary import SpecialTokens

from .contenders import Contender, Spoken

TYPES = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("faster_whisper", "ctranslate2"))


def faster_whisper(main, main_at: Path, options: Options) -> Contender:
    """Raises what CTranslate2 raises for a checkpoint that it cannot convert."""
    import ctranslate2
    from faster_whisper import WhisperModel

    kind, device = TYPES[main.dtype], main.device.type
    with tempfile.TemporaryDirectory() as folder:
        converter = ctranslate2.converters.TransformersConverter(str(main_at), copy_files=["tokenizer.json"])
        converter.convert(folder, quantization=kind, force=True)
        model = WhisperModel(folder, device=device, compute_type=kind, cpu_threads=torch.get_num_threads()).model
    special = SpecialTokens.of(main)
    language = None if options.language is None else special.language_token(options.language)
    prefix = special.prefix(language, options.task, options.timestamps, None)

    def decode(features: Tensor, batch_size: int) -> list[Spoken]:
        found = []
        for chunk in features.split(batch_size):
            given = ctranslate2.StorageView.from_array(chunk.float().cpu().numpy())
            asked = model.generate(
                given, [prefix] * len(chunk), beam_size=1, max_length=special.max_length,
                suppress_tokens=list(special.suppressed) or None,
            )  # fmt: skip
            found += [Spoken([t for t in row.sequences_ids[0] if t < special.end]) for row in asked]
        return found

    return Contender("faster-whisper", "greedy", None, None, decode)


def contenders(main, main_at: Path, options: Options) -> list[Contender]:
    """One, or none where faster-whisper is not installed or cannot take the checkpoint, which is said."""
    if not installed():
        return []
    try:
        return [faster_whisper(main, main_at, options)]
    except Exception as error:  # CTranslate2 raises many kinds
        print(f"faster-whisper is left out: it cannot take {main_at} ({' '.join(str(error).split())[:200]})")
        return []
