"""What data costs: windows saved by packing, loading against training, and memory over a streamed epoch.

    python benchmarks/data.py --speech FOLDER --model openai/whisper-base --machine cpu

FOLDER is an audiofolder with a `speaker` column, as benchmarks/dutch_speech.py writes. Loading: audio files -> 16-bit
windows -> padded batches, by two worker processes, with nobody training. Training: a step of the main's decoder on such
batches, spectrogram and frozen encoder included, with nobody loading. Memory: of the process that streams synthetic
clips from Parquet into `data.cache` and then reads an epoch of windows from there.
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import torch
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parent.parent))

from train.finetune import make_examples
from train.model import TranscriptLoss, choose_parameters
from whisper_pair.audio import SAMPLE_RATE, LogMel
from whisper_pair.batches import Batches, Encoding, Example
from whisper_pair.checkpoints import checkpoint_folder, load_main, load_processor
from whisper_pair.config import Config, Data, Source, Train
from whisper_pair.data import clips_a_window, load_training_clips, pack
from whisper_pair.runs import hardware, versions
from whisper_pair.targets import Targets
from whisper_pair.training import Plan, Stream

RESULTS = Path(__file__).parent / "results"
MEBIBYTE = 2**20
FLAT = 64  # MiB that a streamed epoch may add to the memory after its first tenth


def median_and_spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def packing(config: Config, model, processor) -> tuple[list[Example], dict]:
    """The windows that training gets, and how many it would get without packing."""
    log_mel = LogMel(processor.feature_extractor)
    corpus = load_training_clips(config.data.train, config.data, log_mel.seconds)
    targets = Targets.of(model, processor.tokenizer, config.language, config.task)
    examples = make_examples(corpus, config, targets, log_mel.seconds)
    windows = [example.window for example in examples]
    no_clip_alone = replace(config, data=replace(config.data, unpacked_share=0.0))
    packed = [example.window for example in make_examples(corpus, no_clip_alone, targets, log_mel.seconds)]
    speech = sum(clip.seconds for clip in corpus.clips)
    row = {
        "measure": "packing",
        "clips": len(corpus.clips),
        "dropped": dict(corpus.dropped),
        "seconds": speech,
        "windows": len(windows),
        "windows_saved": clips_a_window(windows),
        "unpacked_share": config.data.unpacked_share,
        "windows_saved_by_packing_alone": clips_a_window(packed),
        "speech_unpacked": speech / (len(corpus.clips) * log_mel.seconds),
        "speech_packed": sum(window.seconds for window in windows) / (len(windows) * log_mel.seconds),
    }
    return examples, row


def loading(examples: list[Example], log_mel: LogMel, batch: int, workers: int, repeats: int) -> dict:
    """Windows a second out of the loader; its workers' start is not counted."""
    batches = Batches(examples, log_mel)
    rates = []
    for repeat in range(repeats):
        plan = Plan(len(examples), batch, 1, 1, 1.0, repeat)
        loader = DataLoader(
            Stream(plan, batches.load),
            batch_sampler=list(plan.micro_batches(0, 0)),
            collate_fn=batches.collate,
            num_workers=workers,
        )
        drawn = iter(loader)
        next(drawn)
        began = time.perf_counter()
        windows = sum(len(item["samples"]) for item in drawn)
        rates.append(windows / (time.perf_counter() - began))
    return {
        "measure": "loading",
        "workers": workers,
        "batch_size": batch,
        "windows_per_second": median_and_spread(rates),
    }


def training(examples: list[Example], log_mel: LogMel, model, batch: int, steps: int, device: str) -> dict:
    """Windows a second through training steps; the first step warms up."""
    settings = Train()
    module = TranscriptLoss(choose_parameters(model.to(device), settings), settings)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 1e-5)
    encoding, batches = Encoding(model.model.encoder, log_mel), Batches(examples, log_mel)
    rates = []
    for step in range(steps + 1):
        numbers = range(step * batch, (step + 1) * batch)
        item = batches.collate([batches.load(number % len(examples), 0) for number in numbers])
        began = time.perf_counter()
        heard = encoding.states(item, device)
        module(heard=heard, inputs=item["inputs"].to(device), labels=item["labels"].to(device)).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device != "cpu":
            torch.cuda.synchronize()
        rates.append(batch / (time.perf_counter() - began))
    return {"measure": "training", "batch_size": batch, "windows_per_second": median_and_spread(rates[1:])}


def synthetic_speech(folder: Path, clips: int, seconds: float) -> Source:
    """Parquet files with the audio inside, a thousand clips each, as a Hub data set has them."""
    import pyarrow as pa
    import pyarrow.parquet
    import soundfile

    chance = np.random.default_rng(0)
    for start in range(0, clips, 1000):
        rows = []
        for number in range(start, min(start + 1000, clips)):
            out = io.BytesIO()
            noise = chance.integers(-3000, 3000, round(seconds * SAMPLE_RATE), np.int16)
            soundfile.write(out, noise, SAMPLE_RATE, format="WAV")
            rows.append({"audio": {"bytes": out.getvalue(), "path": f"{number}.wav"}, "text": f"clip {number}"})
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), folder / f"{start:08d}.parquet")
    return Source(parquet=str(folder), stream=True)


def memory(clips: int, seconds: float) -> dict:
    """Resident memory at every tenth of an epoch over streamed clips."""
    process = psutil.Process()

    def resident() -> float:
        return process.memory_info().rss / MEBIBYTE

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "set").mkdir()
        source = synthetic_speech(Path(name) / "set", clips, seconds)
        data = Data(train=(source,), validation=(), test=(), cache=f"{name}/cache")
        before = resident()
        windows = pack(load_training_clips([source], data, 30.0).clips, data, 30.0, 0)
        after_stream = resident()
        tenths = []
        for number, window in enumerate(windows):
            if number * 10 // len(windows) == len(tenths):
                tenths.append(resident())
            window.pcm()
        tenths.append(resident())
    return {
        "measure": "memory",
        "clips": clips,
        "seconds": clips * seconds,
        "windows": len(windows),
        "mebibytes": {"before": before, "streamed": after_stream, "tenths_of_the_epoch": tenths},
        "growth_mebibytes": max(tenths[1:]) - tenths[1],
    }


def targets(rows: list[dict]) -> dict[str, dict]:
    found = {row["measure"]: row for row in rows}
    ahead = found["loading"]["windows_per_second"]["median"] / found["training"]["windows_per_second"]["median"]

    def target(value: float, reached: float, higher: bool) -> dict:
        return {"target": value, "reached": reached, "higher_is_better": higher}

    return {
        "clips for one packed window": target(4.0, found["packing"]["windows_saved_by_packing_alone"], True),
        "the same, with the share of clips that stand alone too": target(4.0, found["packing"]["windows_saved"], True),
        "loading over training, windows a second": target(1.0, ahead, True),
        "memory added by a streamed epoch, MiB": target(FLAT, found["memory"]["growth_mebibytes"], False),
    }


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="an audiofolder with a speaker column")
    parser.add_argument("--model", required=True, help="the checkpoint that is trained")
    parser.add_argument("--language", default="nl")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="of training, after the first")
    parser.add_argument("--repeats", type=int, default=3, help="passes of the loader")
    parser.add_argument("--unpacked-share", type=float, default=Data.unpacked_share)
    parser.add_argument("--clips", type=int, default=20_000, help="synthetic clips that are streamed")
    parser.add_argument("--clip-seconds", type=float, default=1.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    args = parser.parse_args(arguments)

    started = datetime.now(UTC).date().isoformat()
    kept = memory(args.clips, args.clip_seconds)  # first, before a model fills the memory
    source = Source(folder=str(args.speech), speaker="speaker")
    data = Data(train=(source,), validation=(), test=(), unpacked_share=args.unpacked_share)
    config = Config(args.language, args.model, "none", data)
    start = checkpoint_folder(args.model, None)
    model, processor = load_main(start, torch.float32), load_processor(start)
    log_mel = LogMel(processor.feature_extractor)
    examples, packed = packing(config, model, processor)
    rows = [packed, loading(examples, log_mel, args.batch_size, args.workers, args.repeats)]
    rows += [training(examples, log_mel, model, args.batch_size, args.steps, args.device), kept]
    result = {
        "command": " ".join(["python benchmarks/data.py", *map(without_folders, arguments or sys.argv[1:])]),
        "date": started,
        "machine": hardware(args.device) | {"threads": torch.get_num_threads()},
        "versions": versions(),
        "rows": rows,
        "targets": targets(rows),
    }
    out = args.out or RESULTS / f"data{'-' + args.machine if args.machine else ''}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["targets"], indent=1))
    return result


def without_folders(argument: str) -> str:
    """An argument as it reads elsewhere."""
    return Path(argument).name if Path(argument).is_absolute() else argument


if __name__ == "__main__":
    main()
