"""A checkpoint for CTranslate2, which faster-whisper and the CrisperWhisper fork run."""

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from .load import load_processor, quiet
from .other_tools import write_for_other_tools

BESIDE = ("tokenizer.json", "preprocessor_config.json")  # faster-whisper reads them; without them it asks the Hub
QUANTIZATIONS = ("int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")


def refuse_missing_converter() -> None:
    """InputError where CTranslate2 is not installed."""
    if importlib.util.find_spec("ctranslate2") is None:
        raise InputError("CTranslate2 is not installed: pip install ctranslate2.")


def to_ctranslate2(checkpoint: Path, out: Path, quantization: str | None = None) -> None:
    """Converts a whole Whisper into the folder `out`, which must not be there. `quantization` None: as it is stored.

    Raises InputError for a checkpoint that CTranslate2 cannot convert.
    """
    from ctranslate2.converters import TransformersConverter

    with _with_files(checkpoint) as folder, quiet():
        try:
            converter = TransformersConverter(str(folder), copy_files=list(BESIDE), load_as_float16=False)
            converter.convert(str(out), quantization=quantization)
        except Exception as error:  # of many kinds
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{checkpoint}: CTranslate2 cannot convert it ({reason}).") from error


@contextlib.contextmanager
def _with_files(checkpoint: Path) -> Iterator[Path]:
    """The checkpoint itself where it has the files that CTranslate2 copies, otherwise a folder of links with them."""
    if all((checkpoint / name).is_file() for name in BESIDE):
        yield checkpoint
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        processor = load_processor(checkpoint)
        processor.save_pretrained(folder)
        write_for_other_tools(processor, folder)
        for file in checkpoint.iterdir():
            if not (folder / file.name).exists() and file.is_file():
                (folder / file.name).symlink_to(file.resolve())
        yield folder
