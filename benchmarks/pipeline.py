"""What the three stages cost at a released size: a scripted main is fine-tuned, labels, is distilled and evaluated.

    python benchmarks/pipeline.py --machine NAME      # large-v3's size, meant to take less than four minutes on a GPU
    python benchmarks/pipeline.py --shape micro --clips 24 --device cpu --machine NAME

The main (scripted_main.py) is stored in float16, as large-v3 is, and writes one text for any audio; the clips are
noise. So no network, corpus or weights are needed, and nothing is measured of accuracy. Every stage is launched as its
user would launch it. The figures are those that a stage itself writes into work.json, without its first batch, which
warms up. FLOP are counted by formula, matrix products alone; a trained layer counts three times.
"""

import argparse
import csv
import datetime
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import soundfile
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import machine, result_file, versions, without
from benchmarks.scripted_main import LARGE_V3, MICRO, scripted_main
from benchmarks.stopwatch import matmul_rate
from whisper_pair.audio import SAMPLE_RATE
from whisper_pair.runs import WORK_FILE as WORK
from whisper_pair.synthetic.grammar import distinct_sentences
from whisper_pair.synthetic.micro import POSITIONS_PER_SECOND, MicroWhisper

ROOT = Path(__file__).parent.parent
SPLITS = {"validation": 8, "test": 12}  # clips; those to train on are an option
PREFIX = 4  # <|startoftranscript|> <|language|> <|task|> <|notimestamps|>
DRAFT_LAYERS = 2


@dataclass(frozen=True)
class Scale:
    size: MicroWhisper
    words: int  # of the main's text, a token each
    longest: float  # seconds of a clip
    batch_size: int


SCALES = {"large-v3": Scale(LARGE_V3, 40, 7.0, 16), "micro": Scale(MICRO, 8, 2.0, 4)}


def write_speech(folder: Path, clips: int, longest: float) -> None:
    """Clips of noise with sentences, as audiofolders."""
    random, noise = Random(0), np.random.default_rng(0)
    sentences = iter(distinct_sentences(random, clips + sum(SPLITS.values())))
    for split, count in {"train": clips, **SPLITS}.items():
        (folder / split).mkdir(parents=True)
        with open(folder / split / "metadata.csv", "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["file_name", "text", "speaker"])
            for number in range(count):
                samples = noise.normal(0, 0.1, int(SAMPLE_RATE * random.uniform(longest / 3, longest)))
                soundfile.write(folder / split / f"{number:05d}.wav", samples, SAMPLE_RATE)
                rows.writerow([f"{number:05d}.wav", next(sentences), "one"])


def config_of(scale: Scale, folder: Path) -> dict:
    speech, size = folder / "speech", scale.batch_size
    stage = {"batch_size": size, "evaluations": 1, "checkpoints": 0, "learning_rate": 1e-6}
    limits = ("max_compression_ratio", "max_repeats", "max_tokens_per_second", "max_label_error")
    return {
        "language": "nl",
        "model": str(folder / "start"),
        "output": str(folder / "pair"),
        "data": {
            "train": [{"folder": str(speech / "train"), "speaker": "speaker"}],
            "validation": [{"folder": str(speech / "validation")}],
            "test": [{"folder": str(speech / "test")}],
            "timestamps": 0,  # the main says its script, which has none
        },
        "train": {**stage, "parameters": "decoder", "epochs": 1.5},
        "distill": {**stage, "layers": DRAFT_LAYERS, "epochs": 3, "label_batch_size": size} | dict.fromkeys(limits),
        "eval": {"repeats": 1, "timed_clips": 4, "batch_sizes": [1, 8], "draft_tokens": [4], "long_form_minutes": 0},
    }


def run_stage(stage: str, config: Path, device: str, limit: float) -> dict:
    """Its row, with the failure if it failed."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", *(["--cpu"] if device == "cpu" else [])]
    command = [*launch, "-m", stage, str(config)] if stage != "eval" else [sys.executable, "-m", "eval", str(config)]
    begun = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=limit)
        failed = None if done.returncode == 0 else done.stderr.strip().splitlines()[-12:]
    except subprocess.TimeoutExpired:
        failed = [f"not done in {limit:.0f} s"]
    return {"stage": stage, "seconds": time.perf_counter() - begun, "failed": failed}


def rows_of(stage: dict, folder: Path, scale: Scale, rate: float) -> list[dict]:
    """The stage as a whole, and the work that it measured itself."""
    found = [stage]
    parts = {"train": {"training": "main"}, "distill": {"labelling": "labels", "distillation": "assistant"}}
    for name, part in parts.get(stage["stage"], {}).items():
        file = folder / "pair" / part / WORK
        if not file.is_file():
            continue
        work = json.loads(file.read_text(encoding="utf-8"))
        flop = flop_a_window(scale, name, work["tokens_a_window"])
        share = work["windows_per_second"] * flop / rate
        found.append({"stage": name, **work, "flop_a_window": flop, "share_of_matmul_rate": share})
    report = folder / "pair" / "eval" / "report.json"
    if stage["stage"] == "eval" and report.is_file():
        found_report = json.loads(report.read_text(encoding="utf-8"))
        stage |= {"memory": found_report["memory"], "verdict": found_report["verdict"]["passed"]}
    return found


def flop_a_window(scale: Scale, part: str, tokens: float) -> float:
    """Of training, labelling or distillation, over windows of so many tokens beside the prefix.

    Distillation's are those of its first epoch, in which encoder and teacher run too.
    """
    size, width, frames = scale.size, scale.size.width, scale.size.window * POSITIONS_PER_SECOND
    convolutions = 2 * 3 * width * (2 * frames * size.mel_bins + frames * width)
    encoder = convolutions + size.encoder_layers * (24 * frames * width**2 + 4 * frames**2 * width)
    positions = PREFIX + tokens

    def decoder(layers: int) -> float:
        a_token = 28 * width**2 + 4 * width * (frames + positions)
        return layers * (positions * a_token + 4 * frames * width**2) + 2 * tokens * width * size.vocabulary

    match part:
        case "training":
            return encoder + 3 * decoder(size.decoder_layers)
        case "labelling":
            return encoder + decoder(size.decoder_layers)
        case _:
            return encoder + decoder(size.decoder_layers) + 3 * decoder(DRAFT_LAYERS)


def targets(rows: list[dict], shape: str) -> dict[str, dict]:
    found = {row["stage"]: row for row in rows}
    if shape != "large-v3" or "labelling" not in found:
        return {}
    reached = found["labelling"]["windows_per_second"]
    return {
        f"{shape}: windows labelled a second, batch 16": {"target": 40.0, "reached": reached, "higher_is_better": True}
    }


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SCALES, default="large-v3")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--dtype", default="bfloat16", help="of the matrix product that the rates are a share of")
    parser.add_argument("--clips", type=int, default=300, help="to train on")
    parser.add_argument("--limit", type=float, default=100.0, help="seconds that a stage may take")
    parser.add_argument(
        "--folder", type=Path, default=Path("outputs/pipeline"), help="must not be there yet; holds all that is made"
    )
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(arguments)
    if args.folder.exists():
        raise SystemExit(f"{args.folder}: is there already; remove it or name another --folder.")
    scale, folder = SCALES[args.shape], args.folder.resolve()
    write_speech(folder / "speech", args.clips, scale.longest)
    scripted_main(folder / "start", scale.size, scale.words, torch.float16, args.device)
    config = folder / "pair.yaml"
    config.write_text(yaml.safe_dump(config_of(scale, folder)), encoding="utf-8")
    rate = matmul_rate(torch.device(args.device), getattr(torch, args.dtype))
    rows: list[dict] = []
    for stage in ("train", "distill", "eval"):
        row = run_stage(stage, config, args.device, args.limit)
        rows += rows_of(row, folder, scale, rate)
        print(json.dumps(rows[-1]), flush=True)
        if row["failed"]:
            break
    result = {
        "command": shlex.join(["python", "benchmarks/pipeline.py", *without(arguments, "--out", "--folder")]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(torch.device(args.device)) | {"matmul_flop_per_second": rate, "matmul_dtype": args.dtype},
        "versions": versions(),
        "rows": rows,
        "targets": targets(rows, args.shape),
    }  # fmt: skip
    out = result_file("pipeline", args)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["targets"], indent=1))
    return result


if __name__ == "__main__":
    sys.exit(any(row.get("failed") for row in main()["rows"]))
