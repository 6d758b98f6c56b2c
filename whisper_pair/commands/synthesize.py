"""`whisper-pair synthesize OUT`: the demo's speech and its untrained model."""

import argparse
from pathlib import Path

SUMMARY = "make the demo's synthetic speech and its micro Whisper"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("out", help="the folder to fill")
    parser.add_argument("--overwrite", action="store_true", help="replace data made from other settings")


def run(args: argparse.Namespace) -> None:
    """Writes the speech and the model, unless they are there already."""
    from ..synthetic import synthesize

    made = synthesize(Path(args.out), overwrite=args.overwrite)
    print(f"{args.out}: synthetic speech and a micro Whisper {'written' if made else 'already there'}")
