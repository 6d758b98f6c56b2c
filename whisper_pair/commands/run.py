"""`whisper-pair run CONFIG`: fine-tune, distil and evaluate a pair."""

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..config import Config, load_config
from ..errors import InputError
from ..runs import StopRequest
from ..runs import refuse_missing as refuse_missing_tracker

SUMMARY = "fine-tune, distil and evaluate a pair; finished stages are skipped"

STAGES = ("train", "distill", "eval")
ENDED_BY = {
    "SIGKILL": "the system may have run out of memory",
    "SIGBUS": "a disk may be full or gone under a file that was mapped into memory",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_config(parser)


def add_config(parser: argparse.ArgumentParser) -> None:
    """What `run` takes, and each stage by itself."""
    parser.add_argument("config", help="a pair's YAML file, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="settings that replace the file's")
    parser.add_argument("--launcher", metavar="FILE", help="an accelerate launcher file, see configs/accelerate/")
    parser.add_argument("--dry-run", action="store_true", help="only say what it will take")
    parser.add_argument("--overwrite", action="store_true", help="replace results that other settings made")


def run(args: argparse.Namespace) -> int:
    """All three stages in turn, each in processes of its own, so that each leaves the device's memory empty."""
    config = checked(args)
    refuse_missing_tracker(config)
    for stage in STAGES:
        if (stage == "train" and config.train is None) or (stage == "distill" and not config.makes_assistant):
            continue
        print(f"== {stage} ==", flush=True)
        status = status_of(command_of(stage, args))
        if status:
            return status
    return 0


def checked(args: argparse.Namespace) -> Config:
    """The config that a command line names, before any process starts. Raises InputError for a mistake in either."""
    config = load_config(args.config, args.overrides)
    if args.launcher and not Path(args.launcher).is_file():
        raise InputError(
            f"--launcher {args.launcher}: there is no such file; `accelerate config --config_file FILE` writes one."
        )
    return config


def command_of(stage: str, args: argparse.Namespace) -> list[str]:
    """The command of a stage's own processes."""
    command = [sys.executable]
    if args.launcher:
        command += ["-m", "accelerate.commands.launch", "--config_file", args.launcher]
    command += ["-m", f"whisper_pair.stages.{stage}", args.config, *args.overrides]
    flags = {"--overwrite": args.overwrite, "--dry-run": args.dry_run, "--debug": args.debug}
    return command + [flag for flag, on in flags.items() if on]


def status_of(command: list[str]) -> int:
    """The status of a stage's processes, which are asked to stop when this one is, and when this one is killed."""
    with StopRequest() as stop_request:
        process = subprocess.Popen(command, **_OF_ITS_OWN)
        while process.poll() is None and stop_request.signal is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
        if stop_request.signal is not None:
            with contextlib.suppress(ProcessLookupError):
                _stop(process, stop_request.signal)
            process.wait()
            return 128 + stop_request.signal
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        print(f"error: its process was ended by {name}; {ENDED_BY.get(name, 'its log may say why')}.", file=sys.stderr)
        return 128 - process.returncode
    return process.returncode


def _stop(process: subprocess.Popen[bytes], number: int) -> None:
    """Asks the launcher and all that it started to stop; on Windows, which knows no such signal, ends the launcher."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, number)
    else:
        process.terminate()


def _end_with_parent() -> None:
    """Linux sends this process SIGTERM when its parent is gone (prctl's PR_SET_PDEATHSIG, 1)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


# a group of processes, which can be stopped together, and which is stopped where this process is killed
_OF_ITS_OWN: dict[str, Any] = {"process_group": 0, "preexec_fn": _end_with_parent} if os.name == "posix" else {}
