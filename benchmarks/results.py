"""A benchmark's result as it is written, and what it was measured on."""

import argparse
import datetime
import json
import os
import platform
import re
import shlex
from pathlib import Path

import torch
import transformers

PART = r"[^\s,=:/\[\]{}]"  # a character of a name in a path
RESULTS = Path(__file__).parent / "results"


def write_result(
    name: str, args: argparse.Namespace, arguments: list[str], rows: list[dict], targets: dict[str, dict], **more
) -> dict:
    """Writes what benchmarks/NAME.py measured to results/NAME[-MACHINE].json, or to `args.out`, and returns it."""
    result = {
        "command": shlex.join(["python", f"benchmarks/{name}.py", *without(arguments, "--out")]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(torch.device(args.device)),
        "versions": versions(),
        **more,
        "rows": rows,
        "targets": targets,
    }
    out = result_file(name, args)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(targets, indent=1))
    return result


def result_file(name: str, args: argparse.Namespace) -> Path:
    """Where the result of benchmarks/NAME.py is kept: results/NAME[-MACHINE].json, or `args.out`."""
    found: Path = args.out or RESULTS / f"{name}{'-' + args.machine if args.machine else ''}.json"
    return found


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def machine(device: torch.device) -> dict:
    """The processor, its cores and the threads in use; the GPU where one is."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        names = [line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
        cpu = names[0].strip() if names else cpu
    found = {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return found | ({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {})


def without(arguments: list[str], *options: str) -> list[str]:
    """The command as it reads elsewhere: without these options and their values."""
    for option in options:
        at = arguments.index(option) if option in arguments else len(arguments)
        arguments = [*arguments[:at], *arguments[at + 2 :]]
    return [without_folders(argument) for argument in arguments]


def without_folders(argument: str) -> str:
    """An argument as it reads elsewhere: of a path from the root its last name, inside `key=[{folder: PATH}]` too."""
    return re.sub(rf"(?<!{PART})/(?:{PART}+/)*({PART}+)", r"\1", argument)
