"""What a service sees: latency of a clip and clips a second, by clips in flight and their length.

    python benchmarks/service.py --dtype bfloat16 --device cuda --machine NAME     # large-v3's shape, scripted
    python benchmarks/service.py --shape micro --machine cpu

RTFx is incomparable between short clips and long ones: a window costs its encoder whatever is in it. So each length is
measured by itself, in windows a second, with the tokens that speech of that length has. Clips go through one `decode`
of the engine, which draws them from a queue that is never empty: rows of unlike length, and a row that ended gives its
place to the next. A clip's latency runs from when the engine draws it, to encode it with others, to its last token.
`in_flight` is the engine's batch size. `--also short-windows` decodes the same clips in windows as long as they are.

The pair is scripted (scripted_pair.py): acceptance is chosen, the work is real.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from random import Random

import torch
import transformers
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import write_result
from benchmarks.scripted_pair import OTHERS, SHAPES, ScriptedPair, other_engine, scripted_pair
from whisper_pair.decoding import FEATURE_FRAMES, Options, Round, SpecialTokens, shortened, window_frames
from whisper_pair.runs import synchronize
from whisper_pair.training import DECODING_MARGIN

TOKENS_A_SECOND = (2.4, 2.8, 3.5, 4.2, 4.7, 5.1, 5.3)  # of 241 Dutch clips: the 5th to 95th percentile, evenly
SECONDS = (5.0, 15.0, 30.0)  # of a clip
IN_FLIGHT = (1, 8, 32)
MODES = {"greedy": 0, "speculative": "auto"}
SHORT = "short-windows"
MORE_WINDOWS, LESS_LATENCY = 2.0, 0.6  # what short windows of large-v3 should give: with clips in flight, and with one


@dataclass(frozen=True, kw_only=True)
class ScriptedLengths(SpecialTokens):
    """A limit of its own for each window, in the order in which they enter the batch: a scripted text ends nowhere."""

    lengths: Iterator[int]

    def limit(self, prefix: int, max_new_tokens: int | None) -> int:
        return super().limit(prefix, next(self.lengths))


class Queue:
    """Clips as the engine draws them, and what became of each."""

    def __init__(self, pair: ScriptedPair, count: int):
        self.pair, self.count = pair, count
        self.drawn: list[float] = []
        self.ended: dict[int, float] = {}

    def __iter__(self) -> Iterator[Tensor]:
        for index in range(self.count):
            self.drawn.append(time.perf_counter())
            yield self.pair.features[index % len(self.pair.features)]

    def on_round(self, index: int, step: Round) -> None:
        self.ended[index] = time.perf_counter()  # the last round's stays

    @property
    def latencies(self) -> list[float]:
        return sorted(self.ended[index] - drawn for index, drawn in enumerate(self.drawn))


def measure(pair: ScriptedPair, engine: str, mode: str, in_flight: int, seconds: float, clips: int) -> dict:
    """One pass of clips through the queue of the pair's engine, which is called so: a row of the result."""
    rates = Random(0)
    lengths = [max(1, round(seconds * rates.choice(TOKENS_A_SECOND))) for _ in range(clips)]
    options = Options(language="nl", batch_size=in_flight, draft_tokens=MODES[mode])
    queue = Queue(pair, clips)
    with scripted_lengths(pair, lengths):
        synchronize(pair.engine.device)
        begun = time.perf_counter()
        rows = pair.engine.decode(queue, options, on_round=queue.on_round)
        synchronize(pair.engine.device)
        taken = time.perf_counter() - begun
    if [len(row.tokens) for row in rows] != lengths:
        raise SystemExit("the scripted texts do not have the requested lengths")
    latencies = queue.latencies
    return {
        "engine": engine,
        "mode": mode,
        "clip_seconds": seconds,
        "in_flight": in_flight,
        "clips": clips,
        "tokens": sum(lengths),
        "seconds": round(taken, 5),
        "windows_per_second": round(clips / taken, 2),
        "latency_p50": round(percentile(latencies, 0.5), 5),
        "latency_p95": round(percentile(latencies, 0.95), 5),
        "rtfx": round(clips * seconds / taken, 1),
    }


class scripted_lengths:  # noqa: N801 (reads as a function)
    """Within it, the engine's windows have these lengths."""

    def __init__(self, pair: ScriptedPair, lengths: list[int]):
        self.engine, self.lengths = pair.engine, lengths

    def __enter__(self) -> None:
        self.special = self.engine.special
        known = {field.name: getattr(self.special, field.name) for field in fields(SpecialTokens)}
        self.engine.special = ScriptedLengths(**known, lengths=iter(self.lengths))

    def __exit__(self, *exception: object) -> None:
        self.engine.special = self.special


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def in_short_windows(pair: ScriptedPair, seconds: float) -> ScriptedPair:
    """The same pair and engine, and clips of so many seconds."""
    frames = window_frames(seconds, DECODING_MARGIN, pair.features.shape[-1] // FEATURE_FRAMES)
    return replace(pair, features=shortened(pair.features, frames))


def clips_of(in_flight: int, least: int) -> int:
    """So many that most of them find the batch full."""
    return max(least, 3 * in_flight)


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="large-v3")
    parser.add_argument("--alpha", type=float, default=0.9, help="the chance that a drafted token is right")
    parser.add_argument("--in-flight", type=int, nargs="+", default=list(IN_FLIGHT))
    parser.add_argument("--seconds", type=float, nargs="+", default=list(SECONDS), help="of a clip")
    parser.add_argument("--clips", type=int, default=24, help="a pass at least")
    parser.add_argument(
        "--also", nargs="+", default=[], choices=[*OTHERS, SHORT], help="ours otherwise, or shorter windows, beside it"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    pair = scripted_pair(args.shape, max(args.in_flight), args.device, getattr(torch, args.dtype))
    pair.set_alpha(args.alpha)
    others = {name: replace(pair, engine=other_engine(pair, name)) for name in args.also if name in OTHERS}
    rows = []
    for in_flight in sorted(args.in_flight, reverse=True):  # the largest first: caches are made once
        clips = clips_of(in_flight, args.clips)
        for seconds in args.seconds:
            short = {SHORT: in_short_windows(pair, seconds)} if SHORT in args.also else {}
            pairs = {"pair": pair} | others | short
            for its in pairs.values():  # else "auto" would on the clock
                frames = its.features.shape[-1] // FEATURE_FRAMES
                its.engine.measure_rounds(Options(language="nl", batch_size=in_flight), frames)
            for (engine, its), mode in product(pairs.items(), MODES):
                measure(its, engine, mode, in_flight, seconds, in_flight)  # warms up
                row = measure(its, engine, mode, in_flight, seconds, clips)
                rows.append({"pair": args.shape, "acceptance": "scripted", "alpha": args.alpha} | row)
                print(json.dumps(rows[-1]), flush=True)
    return write_result("service", args, arguments, rows, targets(rows))


def targets(rows: list[dict]) -> dict[str, dict]:
    """Windows a second: the pair's over the main's alone, rounds ahead over waiting, and another engine over ours; of
    short windows with one clip in flight, the latency over that of full ones."""
    keys = "engine", "mode", "in_flight", "clip_seconds"
    rates = {tuple(row[key] for key in keys): row["windows_per_second"] for row in rows}
    latencies = {tuple(row[key] for key in keys): row["latency_p50"] for row in rows}
    found = {}
    for (engine, mode, in_flight, seconds), rate in rates.items():
        ours, target, higher = rates["pair", mode, in_flight, seconds], 1.0, True
        if engine == SHORT and in_flight == 1:
            name, target, higher = f", {mode}: latency in short windows over full ones", LESS_LATENCY, False
            reached = latencies[engine, mode, 1, seconds] / latencies["pair", mode, 1, seconds]
        elif engine == SHORT:
            name, reached, target = f", {mode}: short windows a second over full ones", rate / ours, MORE_WINDOWS
        elif engine == "waiting":
            name, reached = f", {mode}: rounds ahead over waiting", ours / rate
        elif engine != "pair":
            name, reached = f", {mode}: {engine} over plain", rate / ours
        elif mode == "speculative":
            name, reached = ": windows a second over own greedy", rate / rates["pair", "greedy", in_flight, seconds]
        else:
            continue
        label = f"{rows[0]['pair']}{name}, {in_flight} clips of {seconds:.0f} s in flight"
        found[label] = {"target": target, "reached": round(reached, 3), "higher_is_better": higher}
    return found


if __name__ == "__main__":
    main()
