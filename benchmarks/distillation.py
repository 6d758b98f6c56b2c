"""What a clip of speech costs to distil from, against the usual recipe, on random weights of a released shape.

    python benchmarks/distillation.py --shape base --threads 1 --clock cpu --machine cpu
    python benchmarks/distillation.py --shape large-v3 --dtype bfloat16 --device cuda --clips 512 --machine h200

The usual recipe, written plainly: each clip in a window of its own, labels padded to 448, encoder and teacher run at
every step, cross-entropy and KL over [batch, 448, vocabulary] in float32. Ours: the same clips packed into windows by
whisper_pair.data.pack, the real student, losses, teacher and caches. Both make steps over as many clips, with the same
optimizer. Features and labels are random and ready; labelling, which both need, reading audio and the mel spectrogram
are outside the stopwatch.
Each contender runs in a process of its own, in turn, so that its peak memory is its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.distillation_contenders import FIRST, LATER, RECIPE, SHAPES, Bench, Speech, ours, usual_recipe
from benchmarks.results import machine, write_result
from benchmarks.stopwatch import clock_of, flop_counter, matmul_rate, peak_bytes
from whisper_pair.config import Distill
from whisper_pair.runs import synchronize
from whisper_pair.training import WRITES, AudioBatch, EncoderCache, FrozenEncoder

WRITTEN_BATCHES = 9  # of eight windows


def contend(args: argparse.Namespace) -> dict:
    """One contender, in this process: seconds a clip of each kind of step, FLOP a clip, peak memory."""
    torch.manual_seed(0)
    device = torch.device(args.device)
    shape = SHAPES[args.shape]
    main = shape.build().to(device)
    bench = Bench(main, Speech.of(shape, args.clips), Distill(), args.clips_a_step, device, getattr(torch, args.dtype))
    clock = clock_of(args.clock)
    steps = (usual_recipe if args.contender == RECIPE else ours)(bench)
    wanted = (RECIPE,) if args.contender == RECIPE else (FIRST, LATER)
    found = {name: {"seconds": 0.0, "clips": 0, "flop": 0} for name in wanted}
    with flop_counter() as flop:
        _, clips, step = next(steps)  # warms up, and counts the work of a step
        step()
    found[wanted[0]]["flop"] = flop.get_total_flops() / clips
    for name, clips, step in steps:
        if name not in found or (name in (RECIPE, LATER) and found[name]["clips"] >= args.timed_clips):
            break
        if name == LATER and not found[name]["flop"]:
            with flop_counter() as flop:
                step()
            found[name]["flop"] = flop.get_total_flops() / clips
            continue
        synchronize(device)
        start = clock()
        step()
        synchronize(device)
        found[name]["seconds"] += clock() - start
        found[name]["clips"] += clips
    for row in found.values():
        row["peak_bytes"] = peak_bytes(device)
    return found


class ComputedStates(torch.nn.Module):
    """An encoder whose states are known."""

    def __init__(self, states: Tensor):
        super().__init__()
        self.states = states
        self.conv1 = torch.nn.Conv1d(1, 1, 1, dtype=states.dtype)  # tells its type

    def forward(self, features: Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.states)


def cache_writes(args: argparse.Namespace) -> dict:
    """Milliseconds that the training thread spends to cache a window's encoder states, which another thread writes.

    A batch comes when the one before it is written, as it does where the encoder takes longer than the disk.
    """
    shape, device, size = SHAPES[args.shape], torch.device(args.device), 8
    clock = time.thread_time if args.clock == "cpu" else time.perf_counter
    computed = torch.randn(size, shape.frames, shape.width, device=device, dtype=getattr(torch, args.dtype))
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        windows = size * WRITTEN_BATCHES
        states = EncoderCache(Path(folder), windows, shape.frames, shape.width)
        encoding = FrozenEncoder(ComputedStates(computed), lambda waves: waves, None, states)
        for start in range(0, windows, size):
            audio = AudioBatch.to_encode(torch.empty(0), range(start, start + size))
            synchronize(device)
            begun = clock()
            encoding.states(audio, device)
            taken.append(1000 * (clock() - begun) / size)
            WRITES.flush()
    taken = sorted(taken[1:])  # the first makes room in memory
    return {"milliseconds_a_window": statistics.median(taken), "spread": [taken[0], taken[-1]], "windows": windows}


def in_its_own_process(contender: str, arguments: list[str]) -> dict:
    command = [sys.executable, __file__, *arguments, "--contender", contender]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def rows_of(runs: list[dict], rate: float) -> list[dict]:
    """Medians and spread over the runs."""
    rows = []
    for name in (RECIPE, FIRST, LATER):
        mine = [run[name] for run in runs if name in run]
        seconds = sorted(run["seconds"] / run["clips"] for run in mine)
        median, flop = statistics.median(seconds), mine[0]["flop"]
        row = {"contender": name, "seconds_a_clip": median, "spread": [seconds[0], seconds[-1]]}
        row |= {"clips_per_second": 1 / median, "timed_clips": [run["clips"] for run in mine]}
        row |= {"peak_bytes": max(run["peak_bytes"] for run in mine), "flop_a_clip": flop}
        rows.append(row | {"flop_per_second": flop / median, "share_of_matmul_rate": flop / median / rate})
    return rows


def targets(rows: list[dict], shape: str, writes: dict) -> dict[str, dict]:
    recipe, first, later = rows
    gains = [(FIRST, first, 4.0), (LATER, later, 10.0)]
    found = {
        f"{shape}: throughput over the usual recipe, {name}": {
            "target": target, "reached": recipe["seconds_a_clip"] / row["seconds_a_clip"], "higher_is_better": True
        }
        for name, row, target in gains
    }  # fmt: skip
    share = max(first["peak_bytes"], later["peak_bytes"]) / recipe["peak_bytes"]
    found[f"{shape}: peak memory over the usual recipe's"] = {
        "target": 0.25, "reached": share, "higher_is_better": False
    }  # fmt: skip
    found[f"{shape}: ms of the training thread to keep a window's encoder states"] = {
        "target": 3.0, "reached": writes["milliseconds_a_window"], "higher_is_better": False
    }  # fmt: skip
    return found


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"], help="of autocast")
    parser.add_argument("--clips", type=int, default=64, help="clips of 2 to 7 s that there are")
    parser.add_argument("--clips-a-step", type=int, default=16)
    parser.add_argument("--timed-clips", type=int, default=48, help="clips timed of the recipe, and of later epochs")
    parser.add_argument("--repeats", type=int, default=3, help="processes of each contender, in turn")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: where others use the machine too"
    )
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    parser.add_argument("--cache-writes", action="store_true", help="only that measurement, printed")
    parser.add_argument("--contender", help=argparse.SUPPRESS)  # what a process of its own runs
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    if args.contender:
        found = contend(args)
        print(json.dumps(found))
        return found
    if args.cache_writes:
        found = cache_writes(args)
        print(json.dumps(found))
        return found
    runs = [in_its_own_process(name, arguments) for _ in range(args.repeats) for name in (RECIPE, "ours")]
    rate = matmul_rate(torch.device(args.device), getattr(torch, args.dtype), clock_of(args.clock))
    rows, writes = rows_of(runs, rate), cache_writes(args)
    measured_on = machine(torch.device(args.device)) | {"matmul_flop_per_second": rate, "clock": args.clock}
    goals = targets(rows, args.shape, writes)
    return write_result("distillation", args, arguments, rows, goals, machine=measured_on, cache_writes=writes)


if __name__ == "__main__":
    main()
