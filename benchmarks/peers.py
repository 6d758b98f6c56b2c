"""One pair in every engine that can be had, on the same clips, in one run: batch 1, a CPU, interleaved.

    pip install --target peers/ctranslate2 ctranslate2
    pip install --target peers/crisperwhisper ctranslate2-crisperwhisper
    python benchmarks/peers.py --main whisper-base --assistant whisper-tiny --audio dutch/test --language nl \\
        --ctranslate2 peers/ctranslate2 --crisperwhisper peers/crisperwhisper --machine cpu

The engines: ours; transformers, alone and assisted; CTranslate2, which faster-whisper calls, alone; and
CrisperWhisper's fork of it, alone and with the assistant. int8 is marked as such: it is another model, of other text.
Each engine lives in a process of its own (peer_worker.py), and they take turns. A row's `identical` counts the clips
whose tokens are those of our main alone.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.peer_worker import prompt_of
from benchmarks.results import write_result
from eval.measuring import spread_out
from whisper_pair import Pair
from whisper_pair.audio import ENDINGS, read_audio
from whisper_pair.checkpoints import load_processor, save_model, save_processor, standalone_assistant

DRAFTS = 4
WARM_UP = 1  # clip
CONVERT = (
    "import sys; from ctranslate2.converters import TransformersConverter as C;"
    " C(sys.argv[1]).convert(sys.argv[2], quantization=sys.argv[3], force=True)"
)


@dataclass(frozen=True)
class Contender:
    """One engine in one mode."""

    engine: str  # as the table names it
    mode: str  # "greedy" | "speculative"
    type: str  # in which it computes
    job: dict  # of peer_worker.py
    path: Path | None = None  # of the packages that it takes first


class Worker:
    """A contender's process."""

    def __init__(self, contender: Contender, clips: Path, threads: int, clock: str = "wall"):
        self.contender = contender
        paths = [str(contender.path)] if contender.path else []
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([*paths, str(Path(__file__).parent.parent)]),
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
        }
        command = [sys.executable, str(Path(__file__).with_name("peer_worker.py"))]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ask(contender.job | {"clips": str(clips), "threads": threads, "clock": clock})

    def ask(self, question: dict) -> dict:
        """The answer to one line."""
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.contender.engine}, {self.contender.mode}: its process ended, see above.")
        return json.loads(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def contenders(args: argparse.Namespace, pair: Pair, folder: Path) -> list[Contender]:
    """All that can be had here; what is converted goes into `folder`."""
    common_job = prompt_of(pair.engine.special, args.language) | {"language": args.language}
    alone = common_job | {"main": args.main, "assistant": None, "draft_tokens": 0}
    paired = alone | {"assistant": args.assistant}
    found = [
        Contender("Whisper Pair", "greedy", "float32", alone | {"engine": "ours"}),
        Contender("Whisper Pair", "speculative", "float32", paired | {"engine": "ours", "draft_tokens": DRAFTS}),
        Contender("Whisper Pair", "speculative, auto", "float32", paired | {"engine": "ours", "draft_tokens": "auto"}),
        Contender("transformers", "greedy", "float32", alone | {"engine": "transformers"}),
        Contender("transformers", "speculative", "float32",
                  paired | {"engine": "transformers", "draft_tokens": DRAFTS}),
    ]  # fmt: skip
    whole = folder / "assistant"  # with an encoder, as both of CTranslate2's models have
    save_model(standalone_assistant(pair.main, pair.draft), whole)
    save_processor(load_processor(Path(args.main)), whole)
    shared = type(pair.draft).__name__ == "WhisperForCausalLM"
    for name, path in (("CTranslate2", args.ctranslate2), ("CrisperWhisper's CTranslate2", args.crisperwhisper)):
        for kind in ("float32", "int8") if path else ():
            models = {
                part: converted(source, folder / f"{name[:3]}-{kind}-{part}", kind, path)
                for part, source in (("main", Path(args.main)), ("assistant", whole))
            }
            common = common_job | {
                "engine": "ctranslate2",
                "type": kind,
                "shared_encoder": shared,
                "main": models["main"],
            }
            found.append(Contender(name, "greedy", kind, common | {"assistant": None}, path))
            if path == args.crisperwhisper:
                for drafts, mode in ((DRAFTS, "speculative"), ("auto", "speculative, auto")):
                    job = common | {"assistant": models["assistant"], "draft_tokens": drafts}
                    found.append(Contender(name, mode, kind, job, path))
    return found


def converted(checkpoint: Path, out: Path, kind: str, path: Path) -> str:
    """The checkpoint in CTranslate2's format, by that package's own converter."""
    environment = os.environ | {"PYTHONPATH": str(path), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", CONVERT, str(checkpoint), str(out), kind], env=environment, check=True)
    return str(out)


def spectrograms(pair: Pair, audio: Path, count: int, to: Path) -> float:
    """Writes log-mel features [n, mel, frames] of clips taken evenly from a folder; returns the seconds of audio."""
    files = sorted(file for file in audio.rglob("*") if file.suffix.lower() in ENDINGS)
    chosen = [files[row] for row in spread_out(len(files), count)]
    waves = [read_audio(file)[: pair.log_mel.samples] for file in chosen]
    np.save(to, pair.log_mel(pair.log_mel.pad(waves)).numpy())
    return sum(map(len, waves)) / 16_000


def measure(workers: Sequence[Worker], repeats: int) -> tuple[list[list[float]], list[list[list[int]]]]:
    """(seconds of each pass, tokens of each clip) of each worker. The first clips warm it up."""
    seconds, tokens = [[] for _ in workers], [[] for _ in workers]
    for worker in workers:
        worker.ask({"clips": WARM_UP})
    for _ in range(repeats):
        for number, worker in enumerate(workers):
            answer = worker.ask({"clips": None})
            tokens[number] = answer["tokens"]
            seconds[number].append(sum(answer["seconds"]))
    return seconds, tokens


def rows_of(
    found: Sequence[Contender], seconds: list[list[float]], tokens: list[list[list[int]]], audio: float
) -> list[dict]:
    """The table, the first contender being what the others are compared with."""
    medians = [statistics.median(each) for each in seconds]
    return [
        {
            "engine": one.engine,
            "mode": one.mode,
            "type": one.type,
            "seconds": median,
            "spread": [min(passes), max(passes)],
            "rtfx": audio / median,
            "speedup": medians[0] / median,
            "identical": sum(map(list.__eq__, texts, tokens[0])),
        }
        for one, median, passes, texts in zip(found, medians, seconds, tokens, strict=True)
    ]


def targets_of(rows: list[dict]) -> dict[str, dict]:
    """Our fastest over the fastest of the others, in float32 as ours is, and in int8."""
    ours = max(row["speedup"] for row in rows if row["engine"] == "Whisper Pair")
    found = {}
    for kind in ("float32", "int8"):
        theirs = [row["speedup"] for row in rows if row["engine"] != "Whisper Pair" and row["type"] == kind]
        if theirs:
            reached = {"target": 1.0, "reached": ours / max(theirs), "higher_is_better": True}
            found[f"ours_over_the_fastest_in_{kind}"] = reached
    return found


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--main", required=True)
    parser.add_argument("--assistant", required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor time, on a machine in use"
    )
    parser.add_argument("--ctranslate2", type=Path, help="a folder that holds the package")
    parser.add_argument("--crisperwhisper", type=Path, help="a folder that holds the fork's package")
    parser.add_argument("--machine", default="")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    args.device = "cpu"
    return args


def main(arguments: list[str]) -> None:
    args = parsed(arguments)
    torch.set_num_threads(args.threads)
    pair = Pair.from_pretrained(args.main, args.assistant, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        clips = Path(name) / "clips.npy"
        audio = spectrograms(pair, args.audio, args.clips, clips)
        found = contenders(args, pair, Path(name))
        del pair
        workers = [Worker(one, clips, args.threads, args.clock) for one in found]
        for worker in workers:
            running.callback(worker.close)
        seconds, tokens = measure(workers, args.repeats)
    rows = rows_of(found, seconds, tokens, audio)
    for row in rows:
        print(f"{row['engine']:<30} {row['mode']:<18} {row['type']:<8} {row['rtfx']:7.2f}x real time, "
              f"{row['speedup']:.2f}x, {row['identical']} of {len(tokens[0])} texts")  # fmt: skip
    targets = targets_of(rows)
    about = {"clips": len(tokens[0]), "audio_seconds": audio, "clock": args.clock, "repeats": args.repeats}
    write_result("peers", args, arguments, rows, targets, **about)


if __name__ == "__main__":
    main(sys.argv[1:])
