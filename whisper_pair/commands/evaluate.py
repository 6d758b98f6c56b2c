"""`whisper-pair evaluate --main M [--assistant A] --data D --language L --out DIR`: evaluate two checkpoints, or one.

The arguments become a config without training, which the eval stage reads and writes to DIR: `whisper-pair eval
DIR/config.yaml` repeats the evaluation.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from ..config import home, load_config
from ..errors import InputError
from ..text import code_of
from .run import status_of

SUMMARY = "evaluate any main and assistant: acceptance, quality, identity, speed and a verdict; or a main alone"

# about a minute
QUICK = {"timed_clips": 6, "repeats": 2, "batch_sizes": [1], "draft_tokens": [4], "limit": 24, "long_form_minutes": 0}


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--main", required=True, help="a Whisper checkpoint: a folder or a Hub id")
    parser.add_argument("--assistant", help="the same, or a decoder alone; left out: measure the main by itself")
    parser.add_argument(
        "--data", required=True, metavar="D", help="a folder, or owner/name[:config[:split]] on the Hub"
    )
    parser.add_argument("--text", default="text", metavar="COLUMN", help="the column with the human text")
    parser.add_argument("--speaker", metavar="COLUMN", help="the column that names the speaker: joins long recordings")
    parser.add_argument("--language", required=True, help="a code or a name: nl, nl-BE, Dutch, Nederlands")
    parser.add_argument("--task", default="transcribe", choices=("transcribe", "translate"))
    parser.add_argument(
        "--out", type=home, required=True, metavar="DIR", help="receives config.yaml and eval/report.json"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="test clips at most, taken evenly from the whole set")
    parser.add_argument("--quick", action="store_true", help="a minute's answer, with wider intervals")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 unless the verdict passes")
    parser.add_argument("--overwrite", action="store_true", help="replace what other settings gave")
    parser.add_argument(
        "overrides", nargs="*", metavar="eval.key=value", help="other settings, say eval.precision=bf16"
    )


def run(args: argparse.Namespace) -> int:
    """Runs the eval stage on a config made from the arguments."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "evaluate.yaml"
        file.write_text(yaml.safe_dump(config_from_arguments(args), allow_unicode=True), encoding="utf-8")
        load_config(file, args.overrides)  # a mistake is answered before the stage's process starts
        flags = [f"--{name}" for name in ("strict", "overwrite", "debug") if getattr(args, name)]
        command = [sys.executable, "-m", "whisper_pair.stages.eval", str(file), *args.overrides, *flags]
        return status_of(command)


def config_from_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """A config that trains nothing."""
    settings = (QUICK if args.quick else {}) | ({} if args.limit is None else {"limit": args.limit})
    test = source(args.data) | {"text": args.text, "speaker": args.speaker}
    return {
        "language": code_of(args.language, "--language"),
        "task": args.task,
        "model": args.main,
        "output": args.out,
        "train": None,
        "data": {"train": [], "validation": [], "test": [test]},
        "eval": {"assistant": args.assistant, "main_alone": args.assistant is None, **settings},
    }


def source(name: str) -> dict[str, str]:
    """A folder where there is one of that name, otherwise a data set on the Hub."""
    if Path(name).exists() or name.startswith((".", "/", "~")):
        return {"folder": name}
    hub, *rest = name.split(":")
    if hub.count("/") != 1 or len(rest) > 2:
        raise InputError(
            f"--data {name}: there is no such folder, and it is no owner/name[:config[:split]] on the Hub."
        )
    return {"hub": hub} | dict(zip(("config", "split"), rest, strict=False))
