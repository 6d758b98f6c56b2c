"""`whisper-pair export PAIR --to ctranslate2 --out DIR`: main and assistant for another engine.

DIR/main is the main, which faster-whisper takes as it is. DIR/assistant is the assistant with the main's encoder, a
Whisper of its own, which drafts in engines that pair two whole Whispers.
"""

import argparse
import tempfile
from pathlib import Path

from ..checkpoints import (
    QUANTIZATIONS,
    Capabilities,
    add_pair_arguments,
    checkpoint_folder,
    pair_from_arguments,
    refuse_missing_converter,
)
from ..config import home
from ..errors import InputError

SUMMARY = "convert a pair for another engine"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("place", nargs="?", metavar="PAIR", help="a run's folder or a published pair, as --pair")
    add_pair_arguments(parser)
    parser.add_argument("--to", required=True, choices=("ctranslate2",), help="the engine")
    parser.add_argument("--out", type=home, required=True, metavar="DIR", help="receives main/ and assistant/")
    parser.add_argument("--quantization", choices=QUANTIZATIONS, help="of the weights; unset: as they are stored")


def run(args: argparse.Namespace) -> None:
    """Writes the folders, or refuses before it reads a weight."""
    if args.place and args.pair:
        raise InputError(f"{args.place} and --pair {args.pair}: name one pair.")
    args.pair = args.pair or args.place
    main, assistant = pair_from_arguments(args)
    out = Path(args.out)
    for part in ("main", "assistant"):
        if (out / part).exists():
            raise InputError(f"{out / part}: is there already; remove it, or choose another --out.")
    refuse_missing_converter()
    main_at = checkpoint_folder(main)

    from ..checkpoints import check_pair, load_processor, save_model, save_processor, to_ctranslate2
    from ..publishing import standalone_model

    assistant_at = None if assistant is None else checkpoint_folder(assistant)
    if assistant_at is not None:
        check_pair(main_at, assistant_at)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written to ({error.strerror}).") from error
    to_ctranslate2(main_at, out / "main", args.quantization)
    print(f"{out / 'main'}: the main{_how_to_decode(main_at)}")
    if assistant_at is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        save_model(standalone_model(main_at, assistant_at), Path(folder))
        save_processor(load_processor(main_at), Path(folder))
        to_ctranslate2(Path(folder), out / "assistant", args.quantization)
    print(f"{out / 'assistant'}: the assistant, with the main's encoder")


def _how_to_decode(main: Path) -> str:
    """faster-whisper asks for timestamps by default, and knows nothing of what a main was trained to do."""
    trained = Capabilities.load(main)
    if trained is None or trained.writes_timestamps:
        return ""
    return "; it was trained without timestamps: decode with without_timestamps=True"
