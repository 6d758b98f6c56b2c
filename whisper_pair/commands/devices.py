"""The pair that a command decodes with, on the device and in the precision that were asked for."""

import argparse
import logging
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..pair import Pair

logger = logging.getLogger(__name__)

TESTED = ("cpu", "cuda")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Declares --device and --precision."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps ...; unset: the GPU where there is one")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="auto: bf16 on a GPU that has it, otherwise fp16; fp32 elsewhere",
    )


def load(main: str, assistant: str | None, device: str | None, precision: str, language: str | None = None) -> "Pair":
    """The pair, on the GPU in half precision where there is one. `language`: a code that the main must know.

    Raises InputError for a device that is not here and for a language that the main lacks, before weights are read.
    """
    import torch

    from ..pair import Pair
    from ..precision import DTYPES, resolved

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    refuse_missing(device)
    if torch.device(device).type not in TESTED:
        logger.warning("--device %s: the tests run on cpu and cuda alone; compare its text with that of cpu", device)
    dtype = DTYPES[resolved(precision, device, "--precision")]
    if language is not None:
        refuse_language(main, language)
    return Pair.from_pretrained(main, assistant, dtype=dtype, device=device)


def refuse_missing(device: str) -> None:
    """InputError for a device that torch does not know or that is not here."""
    import torch

    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"--device {device}: expected cpu, cuda, cuda:NUMBER or mps.") from error
    gpus = torch.cuda.device_count()
    if found.type == "cuda" and not gpus:
        raise InputError(f"--device {device}: torch sees no GPU here; use --device cpu.")
    if found.type == "cuda" and (found.index or 0) >= gpus:
        raise InputError(f"--device {device}: torch sees {gpus} here; the last one is cuda:{gpus - 1}.")
    try:
        torch.empty(1, device=found).cpu()  # meta has nothing to copy
    except (RuntimeError, NotImplementedError, AssertionError, ImportError) as error:
        raise InputError(f"--device {device}: is not here, or torch was not built for it; use --device cpu.") from error


def refuse_language(main: str, language: str) -> None:
    """InputError for a language that the main's vocabulary lacks, such as yue in whisper-small."""
    from ..checkpoints import checkpoint_folder, completed, load_processor

    folder = checkpoint_folder(main)
    known = getattr(completed(folder, load_processor(folder).tokenizer), "lang_to_id", None) or {"<|en|>": None}
    if f"<|{language}|>" not in known:
        codes = ", ".join(sorted(token.strip("<|>") for token in known))
        raise InputError(f"--language {language}: the main {main} does not know it; it knows {codes}.")
