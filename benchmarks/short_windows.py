"""Windows as long as their clips against windows of 30 s: speed, error rate and memory, one pair, in one run.

    python benchmarks/short_windows.py --main whisper-base --assistant outputs/real-dutch-base/assistant \\
        --audio dutch/test --language nl --clips 24 --threads 1 --machine cpu

The clock runs from audio features to tokens, the encoder included. Every contender decodes all clips in each pass, one
after another, so that what disturbs the machine disturbs them alike. A ratio is of medians; its spread is of single
passes. A main that was not trained on short windows writes worse text in them, which the error rates show; what a
window costs does not depend on that, as long as texts stay as long (`tokens`).
"""

import argparse
import csv
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import write_result
from benchmarks.stopwatch import clock_of, timed
from whisper_pair import Pair
from whisper_pair.audio import read_audio
from whisper_pair.decoding import Options, encode_each, with_margin
from whisper_pair.text import Normalizer, error_rates, pooled, text_of
from whisper_pair.training import DECODING_MARGIN

MEMORY_SECONDS = 5.0  # of the clips whose caches are weighed
LIMIT = 120  # tokens of a text: several times as many as a clip's


class Clip(NamedTuple):
    """A clip's features and its reference."""

    features: Tensor  # [mel, frames] of a full window
    sound: int  # frames of it that are not padding
    text: str


@dataclass(frozen=True)
class Contender:
    """One way to decode the clips."""

    windows: str  # "full" | "short"
    mode: str  # "greedy" | "speculative"
    batch_size: int


def clips_of(pair: Pair, folder: Path, count: int) -> list[Clip]:
    """The first clips that fit a window and have a reference in the folder's metadata.csv (file_name, text)."""
    found: list[Clip] = []
    with open(folder / "metadata.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            samples = read_audio(folder / row["file_name"])
            if len(samples) <= pair.log_mel.samples and row["text"].strip():
                sound = -(-len(samples) // pair.log_mel.hop)
                found.append(Clip(pair.log_mel.features([samples])[0], sound, row["text"].strip()))
            if len(found) == count:
                break
    return found


def cache_bytes(pair: Pair, margin: float | None, options: Options) -> int:
    """Of the caches of an engine that has decoded a batch of clips of MEMORY_SECONDS."""
    sound = int(100 * MEMORY_SECONDS)
    full = torch.zeros(pair.log_mel.mel_bins, pair.log_mel.frames)
    alone = type(pair.engine)(pair.main, pair.draft, pair.engine.draft_vocabulary, graphs=False)
    alone.decode([with_margin(full, sound, margin)] * options.batch_size, options)
    return alone.caches.bytes


def measure(pair: Pair, clips: list[Clip], args: argparse.Namespace) -> list[dict]:
    """One row a contender."""
    windows = {
        "full": [clip.features for clip in clips],
        "short": [with_margin(clip.features, clip.sound, args.margin) for clip in clips],
    }
    contenders = [
        Contender(kind, mode, batch_size)
        for batch_size in args.batch_sizes
        for mode in ("greedy", "speculative")
        for kind in ("full", "short")
    ]
    clock, engine, encoder = clock_of(args.clock), pair.engine, pair.engine.encoders.main
    seconds: dict[Contender, list[float]] = {contender: [] for contender in contenders}
    encoding: dict[str, list[float]] = {kind: [] for kind in windows}
    texts = {}

    def options(contender: Contender) -> Options:
        drafts = args.draft_tokens if contender.mode == "speculative" else 0
        return pair.options(args.language, "transcribe", drafts, batch_size=contender.batch_size, max_new_tokens=LIMIT)

    for contender in contenders:  # else "auto" would measure on the clock
        engine.measure_rounds(options(contender), engine.encoders.longest(windows[contender.windows], None))
        engine.decode(windows[contender.windows][:2], options(contender))
    for _ in range(args.repeats):
        for kind, some in windows.items():
            encoding[kind].append(timed(lambda some=some: encode_each(encoder, some), clock, engine.device)[0])
        for contender in contenders:
            asked = options(contender)
            taken, texts[contender] = timed(
                lambda some=windows[contender.windows], asked=asked: engine.decode(some, asked), clock, engine.device
            )
            seconds[contender].append(taken)
    normalizer = Normalizer(args.language)
    rows = []
    for contender in contenders:
        full = Contender("full", contender.mode, contender.batch_size)
        greedy = Contender(contender.windows, "greedy", contender.batch_size)
        decoded = texts[contender]
        hypotheses = [text_of(pair.processor.tokenizer, engine.special.text(row.tokens)) for row in decoded]
        rates = error_rates([clip.text for clip in clips], hypotheses, args.language, normalizer)
        rows.append(
            asdict(contender)
            | {
                "seconds": statistics.median(seconds[contender]),
                "spread": [min(seconds[contender]), max(seconds[contender])],
                "encoder_seconds": statistics.median(encoding[contender.windows]),
                "speedup_over_full": ratio(seconds[full], seconds[contender]),
                "speedup_over_greedy": ratio(seconds[greedy], seconds[contender]),
                "wer": pooled(rates).rate,
                "tokens": sum(len(row.tokens) for row in decoded),
                "cut": sum(not row.finished for row in decoded),  # at the length limit
                "identical": sum(
                    one.tokens == other.tokens for one, other in zip(decoded, texts[greedy], strict=True)
                ),  # to greedy's over the same windows
                "cache_bytes": cache_bytes(
                    pair, args.margin if contender.windows == "short" else None, options(contender)
                ),
            }
        )
    return rows


def ratio(slower: list[float], faster: list[float]) -> dict[str, float | list[float]]:
    """Of medians, and the least and the greatest of single passes."""
    single = [one / other for one, other in zip(slower, faster, strict=True)]
    return {"ratio": statistics.median(slower) / statistics.median(faster), "spread": [min(single), max(single)]}


def targets_of(rows: list[dict]) -> dict[str, dict]:
    """What short windows are asked to win."""
    found = {}
    for row in rows:
        if row["windows"] == "short" and row["mode"] == "speculative":
            name = f"over_full_windows_batch_{row['batch_size']}"
            reached = row["speedup_over_full"]["ratio"]
            found[name] = {"target": 2.5, "reached": reached, "higher_is_better": True}
    largest = max(row["batch_size"] for row in rows)
    weighed = {row["windows"]: row["cache_bytes"] for row in rows if row["batch_size"] == largest}
    share = weighed["short"] / weighed["full"]
    found[f"cache_share_batch_{largest}"] = {"target": 0.5, "reached": share, "higher_is_better": False}
    return found


def main(arguments: list[str] | None = None) -> dict:
    """Measures and writes the result."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--main", required=True, help="a checkpoint")
    parser.add_argument("--assistant", required=True, help="an assistant for it")
    parser.add_argument("--audio", type=Path, required=True, help="a folder of clips with metadata.csv")
    parser.add_argument("--language", required=True)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--margin", type=float, help="seconds after a clip's end; otherwise as the main was trained")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--draft-tokens", default="auto", help="a number, or auto")
    parser.add_argument("--repeats", type=int, default=5, help="passes (5)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a machine that others use")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--machine", default="", help="names the result's file")
    parser.add_argument("--out", type=Path, help="the result's file")
    args = parser.parse_args(arguments)
    args.draft_tokens = args.draft_tokens if args.draft_tokens == "auto" else int(args.draft_tokens)
    torch.set_num_threads(args.threads)
    pair = Pair.from_pretrained(args.main, args.assistant, device=args.device)
    if args.margin is None:
        args.margin = pair.margin("auto") or DECODING_MARGIN
    clips = clips_of(pair, args.audio, args.clips)
    rows = measure(pair, clips, args)
    about = {
        "clips": len(clips),
        "audio_seconds": sum(clip.sound for clip in clips) / 100,
        "margin": args.margin,
        "clock": args.clock,
        "repeats": args.repeats,
        "dtype": str(pair.main.dtype),
    }
    return write_result("short_windows", args, arguments, rows, targets_of(rows), **about)


if __name__ == "__main__":
    main()
