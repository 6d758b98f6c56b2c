"""All GPU measurements, by one command of less than five minutes, without a network.

    python benchmarks/gpu.py --machine NAME                       # -> benchmarks/results/*-NAME.json
    python benchmarks/gpu.py --machine NAME --only decoding service

Each part is a benchmark of its own, run in a process of its own with a time limit, and writes one result. A part that
fails or is not done in time writes a result with the reason, and the others run. The last parts get what the first
ones leave of the five minutes; with more `--minutes` all limits grow. `--shape small` runs all of it on a CPU, to try
it.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import RESULTS

HERE = Path(__file__).parent
MINUTES = 5.0
LAST_LINES = 12  # of what a failed part printed


@dataclass(frozen=True)
class Part:
    script: str
    limit: float  # seconds of the five minutes, at most
    large: tuple[str, ...]  # arguments at large-v3's shape on a GPU
    small: tuple[str, ...] | None  # at a small shape on a CPU; None: it runs on a GPU alone
    folder: bool = False  # does it need a --folder to work in?


LARGE = ("--device", "cuda", "--dtype", "bfloat16")
SMALL = ("--device", "cpu", "--threads", "1")
FEW = ("--alphas", "0.9", "--repeats", "2", "--batches", "2")
PARTS = {
    "exactness": Part("exactness", 45, ("--device", "cuda", "--seeds", "2"), ("--seeds", "1")),
    "decoding": Part(
        "decoding", 90,
        (*LARGE, "--scripted", "large-v3", *FEW, "--batch-sizes", "1", "4", "16"),
        (*SMALL, "--scripted", "tiny-test", *FEW, "--batch-sizes", "1", "2"),
    ),
    "service": Part(
        "service", 50,
        (*LARGE, "--clips", "12"),
        (*SMALL, "--shape", "tiny-test", "--in-flight", "1", "2", "--seconds", "1", "--clips", "3"),
    ),
    "distillation": Part(
        "distillation", 60,
        (*LARGE, "--shape", "large-v3", "--clips", "128", "--clips-a-step", "32", "--timed-clips", "64",
         "--repeats", "1"),
        (*SMALL, "--shape", "tiny-test", "--clips", "16", "--clips-a-step", "4", "--timed-clips", "8",
         "--repeats", "1"),
    ),
    "pipeline": Part(
        "pipeline", 180,
        ("--clips", "96", "--limit", "50"),
        ("--shape", "micro", "--clips", "8", "--device", "cpu", "--dtype", "float32", "--limit", "600"),
        folder=True,
    ),
    "compiled": Part(  # one layer is compiled for each shape, so few shapes: one batch size, one draft length
        "decoding", 120,
        (*LARGE, "--scripted", "large-v3", *FEW, "--batch-sizes", "1", "--draft-tokens", "8", "--ours", "--also",
         "compiled"),
        (*SMALL, "--scripted", "tiny-test", *FEW, "--batch-sizes", "1", "--draft-tokens", "4", "--ours", "--also",
         "compiled"),
    ),
    "kernels": Part(
        "decoding", 60,
        (*LARGE, "--scripted", "large-v3", *FEW, "--batch-sizes", "1", "16", "--draft-tokens", "8", "--ours",
         "--also", "kernels"),
        None,
    ),
    "ahead": Part(
        "decoding", 110,
        (*LARGE, "--scripted", "large-v3", *FEW, "--batch-sizes", "1", "16", "--ours", "--also", "waiting",
         "always-ahead", "side-stream"),
        (*SMALL, "--scripted", "tiny-test", *FEW, "--batch-sizes", "1", "--draft-tokens", "4", "--ours", "--also",
         "waiting", "always-ahead", "side-stream"),
    ),
    "beside": Part(
        "service", 110,
        (*LARGE, "--clips", "12", "--in-flight", "1", "8", "--seconds", "5", "30", "--also", "waiting", "side-stream"),
        (*SMALL, "--shape", "tiny-test", "--in-flight", "1", "2", "--seconds", "1", "--clips", "3", "--also", "waiting",
         "side-stream"),
    ),
    "short": Part(
        "service", 60,
        (*LARGE, "--clips", "16", "--in-flight", "1", "16", "--seconds", "5", "--also", "short-windows"),
        (*SMALL, "--shape", "micro", "--in-flight", "1", "2", "--seconds", "1", "--clips", "3", "--also",
         "short-windows"),
    ),
}  # fmt: skip


def run(name: str, small: bool, out: Path, limit: float) -> str | None:
    """Runs a part; what went wrong, if anything did."""
    part = PARTS[name]
    arguments = part.small if small and part.small is not None else part.large
    command = [sys.executable, str(HERE / f"{part.script}.py"), *arguments]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as output:
        if part.folder:
            command += ["--folder", str(Path(folder) / "work")]
        process = subprocess.Popen(
            [*command, "--out", str(out)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            start_new_session=True,  # so that what it started ends with it
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(process)
        output.seek(0)
        last = output.read().strip().splitlines()[-LAST_LINES:]
    if code == 0:
        return None
    return "\n".join([f"not done in {limit:.0f} s" if code is None else f"ended with {code}", *last])


def end(process: subprocess.Popen) -> None:
    """The process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def record_failure(name: str, out: Path, machine: str, failed: str, since: float) -> None:
    """In the part's own result, where it wrote one, beside its figures; otherwise in a result of its own."""
    written = out.is_file() and out.stat().st_mtime >= since
    result = json.loads(out.read_text(encoding="utf-8")) if written else {"rows": [], "targets": {}}
    result.setdefault("command", f"python benchmarks/gpu.py --machine {machine} --only {name}")
    result.setdefault("date", datetime.datetime.now(datetime.UTC).date().isoformat())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result | {"failed": failed.splitlines()}, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """How many parts failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", required=True, help="a word for the machine, in the results' names")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts to run")
    parser.add_argument("--shape", choices=["large-v3", "small"], default="large-v3", help="small: on a CPU")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all parts together")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the results")
    args = parser.parse_args(arguments)
    begun, failures = time.time(), 0
    for name in (name for name in PARTS if name in args.only):
        if args.shape == "small" and PARTS[name].small is None:
            print(f"{name}: runs on a GPU alone", flush=True)
            continue
        started = time.time()
        out = args.results / f"{name}-{args.machine}.json"
        limit = min(PARTS[name].limit * args.minutes / MINUTES, begun + 60 * args.minutes - started)
        failed = f"no time was left of {args.minutes:g} minutes"
        if limit > 0:
            print(f"{name}: at most {limit:.0f} s", flush=True)
            failed = run(name, args.shape == "small", out.resolve(), limit)
        if failed is not None:
            record_failure(name, out, args.machine, failed, started)
            failures += 1
        print(f"{name}: {failed or 'done'} ({time.time() - started:.0f} s), {out}", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main() > 0)
