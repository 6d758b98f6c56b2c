"""`whisper-pair run CONFIG`: fine-tune, distil and evaluate a pair."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from ..config import load_config
from ..errors import InputError

SUMMARY = "fine-tune, distil and evaluate a pair; finished stages are skipped"

STAGES = ("train", "distill", "eval")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="a pair's YAML file, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="settings that replace the file's")
    parser.add_argument("--launcher", metavar="FILE", help="an accelerate launcher file, see configs/accelerate/")
    parser.add_argument("--overwrite", action="store_true", help="replace results that other settings made")


def run(args: argparse.Namespace) -> int:
    """All three stages in turn, each in processes of its own, so that each leaves the device's memory empty."""
    config = load_config(args.config, args.overrides)
    if args.launcher and not Path(args.launcher).is_file():
        raise InputError(f"--launcher {args.launcher}: there is no such file; see configs/accelerate/.")
    for stage in STAGES:
        if (stage == "train" and config.train is None) or (stage == "distill" and config.eval.assistant):
            continue
        command = [sys.executable]
        if args.launcher and stage != "eval":
            command += ["-m", "accelerate.commands.launch", "--config_file", args.launcher]
        command += ["-m", f"whisper_pair.stages.{stage}", args.config, *args.overrides]
        command += [flag for flag, on in (("--overwrite", args.overwrite), ("--debug", args.debug)) if on]
        print(f"== {stage} ==", flush=True)
        status = subprocess.run(command).returncode
        if status:
            return status
    report = json.loads((Path(config.output) / "eval" / "report.json").read_text(encoding="utf-8"))
    print(summary(report))
    return 0


def summary(report: dict) -> str:
    """The table that a finished run ends with."""
    quality, speed = report["quality"], report["speed"]
    rows = [(f"{quality['metric'].upper()} of the {name}", f"{100 * quality[name]['rate']:.1f} %")
            for name in ("main", "assistant", "pair")]  # fmt: skip
    acceptance = report["acceptance"]
    rows.append(("agreement of the assistant", f"{acceptance['agreement']:.3f}"))
    for row in speed["rows"]:
        if row["engine"] == "pair" and row["mode"] == "speculative" and row["assistant"] == "ours":
            low, high = row["speedup_interval"]
            figures = f"{row['speedup']:.2f}x ({low:.2f} to {high:.2f})"
            rows.append((f"speedup over greedy, batch {row['batch_size']}, {row['draft_tokens']} drafts", figures))
    identity = report["identity"]
    rows.append(("utterances identical to the main's", f"{identity['identical']} of {identity['utterances']}"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
