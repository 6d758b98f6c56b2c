"""What data costs: windows saved by packing, loading against training, memory over a streamed epoch, and long files.

    python benchmarks/data.py --speech FOLDER --model openai/whisper-base --machine cpu
    python benchmarks/data.py --only-long-files --machine cpu

FOLDER is an audiofolder with a `speaker` column, as benchmarks/dutch_speech.py writes. Loading: audio files -> 16-bit
windows -> padded batches, by two worker processes, with nobody training. Training: a step of the main's decoder on such
batches, spectrogram and frozen encoder included, with nobody loading. Memory: of the process that streams synthetic
clips from Parquet into `data.cache` and then reads an epoch of windows from there.

Long files: an hour of m4a read in pieces of 30 s against once through, in seconds of the processor; and ten hours of
FLAC to segments, in order and in chunks, by a micro pair of random weights, whose memory is that of reading. The second
command measures these alone, and puts them into the result that is there.
"""

import argparse
import io
import json
import shlex
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

from benchmarks.results import result_file, without
from train.finetune import make_examples
from train.model import TranscriptLoss, choose_parameters
from whisper_pair import Pair
from whisper_pair.audio import SAMPLE_RATE, LogMel, Sound, read_audio
from whisper_pair.checkpoints import checkpoint_folder, load_main, load_processor
from whisper_pair.config import Config, Data, Source, Train
from whisper_pair.data import clips_per_window, load_training_clips, pack
from whisper_pair.decoding import Options
from whisper_pair.longform import transcribe
from whisper_pair.runs import hardware, versions
from whisper_pair.synthetic.micro import MicroWhisper, build
from whisper_pair.training import Batches, Draw, Example, FrozenEncoder, Plan, Stream, TargetTokens

MEBIBYTE = 2**20
PIECE = 30.0  # seconds
FLAT_LONG = 300  # MiB that a file of any length may add
PIECES_OVER_WHOLE = 1.2  # times the time of reading it once through
FLAT = 64  # MiB that a streamed epoch may add to the memory after its first tenth


def median_and_spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def packing(config: Config, model, processor) -> tuple[list[Example], dict]:
    """The windows that training gets, and how many it would get without packing."""
    log_mel = LogMel(processor.feature_extractor)
    corpus = load_training_clips(config.data.train, config.data, log_mel.seconds)
    targets = TargetTokens.of(model, processor.tokenizer, config.language, config.task)
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
        "windows_saved": clips_per_window(windows),
        "unpacked_share": config.data.unpacked_share,
        "windows_saved_by_packing_alone": clips_per_window(packed),
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
            Stream(batches.load),
            batch_sampler=list(plan.micro_batches(0, 0)),
            collate_fn=batches.collate,
            num_workers=workers,
        )
        drawn = iter(loader)
        next(drawn)
        began = time.perf_counter()
        windows = sum(len(batch.names) for batch in drawn)
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
    encoding, batches = FrozenEncoder(model.model.encoder, log_mel), Batches(examples, log_mel)
    rates = []
    for step in range(steps + 1):
        numbers = range(step * batch, (step + 1) * batch)
        loaded = batches.collate([batches.load(Draw(number % len(examples), 0)) for number in numbers])
        began = time.perf_counter()
        audio_features = encoding.states(loaded.audio, device)
        module(
            audio_features=audio_features, inputs=loaded.inputs.to(device), labels=loaded.labels.to(device)
        ).total.backward()
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


def speech_like(seconds: float, rate: int) -> np.ndarray:
    """float32 [samples]: noise that comes and goes, which no codec has for nothing."""
    chance, at = np.random.default_rng(0), np.arange(round(seconds * rate)) / rate
    return (chance.normal(0, 0.1, len(at)) * (0.55 + 0.45 * np.sin(2 * np.pi * 0.7 * at))).astype(np.float32)


def write_m4a(path: Path, minutes: float) -> None:
    import av

    rate, one = 48_000, speech_like(10, 48_000)
    with av.open(str(path), "w", format="ipod") as out:
        stream = out.add_stream("aac", rate=rate, layout="stereo")
        stream.bit_rate = 64_000
        for number in range(round(minutes * 60 * rate / 1024)):
            at = number * 1024 % (len(one) - 1024)
            part = one[at : at + 1024]
            frame = av.AudioFrame.from_ndarray(np.stack([part, part]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = rate, number * 1024
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)


class Peak:
    """Resident memory above that at the start, MiB, where it was looked at."""

    def __init__(self):
        self.process = psutil.Process()
        self.start = self.process.memory_info().rss
        self.added = 0.0

    def look(self, *_) -> None:
        self.added = max(self.added, (self.process.memory_info().rss - self.start) / MEBIBYTE)


def long_file_in_pieces(minutes: float) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.m4a"
        write_m4a(path, minutes)
        read_audio(path, start=40.0, seconds=1.0)  # what is loaded once
        peak, began = Peak(), time.process_time()
        with Sound(path) as sound:
            samples = sum(len(block) for block in sound.blocks())
        whole, began = time.process_time() - began, time.process_time()
        read = 0
        for start in np.arange(0, samples / SAMPLE_RATE, PIECE):
            read += len(read_audio(path, start=float(start), seconds=PIECE))
            peak.look()
        pieces = time.process_time() - began
    assert abs(read - samples) < SAMPLE_RATE / 10
    return {
        "measure": "long file in pieces",
        "container": "m4a",
        "seconds": samples / SAMPLE_RATE,
        "processor_seconds": {"once_through": whole, "pieces": pieces},
        "added_mebibytes": peak.added,
    }


def long_form_memory(hours: float) -> dict:
    """FLAC to segments, by a model that writes next to nothing."""
    import soundfile

    added = {}
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "micro", MicroWhisper(window=30, decoder_layers=1, width=64), 1)
        main = load_main(Path(folder) / "micro", torch.float32)
        pair = Pair(main, None, load_processor(Path(folder) / "micro"))
        path, minute = Path(folder) / "long.flac", speech_like(60, SAMPLE_RATE)
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
            for _ in range(round(hours * 60)):
                file.write(minute)
        settings = Options(language="nl", timestamps=True, batch_size=4, draft_tokens=0, max_new_tokens=1)
        list(transcribe(pair, [minute], settings, chunked=True))  # what is loaded once
        for chunked in (False, True):
            peak = Peak()
            ((_, transcribed),) = transcribe(pair, [path], settings, chunked=chunked, on_progress=peak.look)
            peak.look()
            added["chunked" if chunked else "sequential"] = peak.added
    return {"measure": "long form", "container": "flac", "seconds": transcribed.seconds, "added_mebibytes": added}


def long_files(minutes: float, hours: float) -> list[dict]:
    return [long_file_in_pieces(minutes), long_form_memory(hours)]


def long_targets(found: dict[str, dict]) -> dict[str, dict]:
    pieces, form = found["long file in pieces"], found["long form"]["added_mebibytes"]
    spent = pieces["processor_seconds"]
    ratio = spent["pieces"] / spent["once_through"]
    return {
        "an hour of m4a in pieces, over once through": target(PIECES_OVER_WHOLE, ratio, False),
        "memory added by it, MiB": target(FLAT_LONG, pieces["added_mebibytes"], False),
        "memory added by ten hours of FLAC in order, MiB": target(FLAT_LONG, form["sequential"], False),
        "memory added by ten hours of FLAC in chunks, MiB": target(FLAT_LONG, form["chunked"], False),
    }


def target(value: float, reached: float, higher: bool) -> dict:
    return {"target": value, "reached": reached, "higher_is_better": higher}


def targets(rows: list[dict]) -> dict[str, dict]:
    found = {row["measure"]: row for row in rows}
    ahead = found["loading"]["windows_per_second"]["median"] / found["training"]["windows_per_second"]["median"]

    return {
        "clips for one packed window": target(4.0, found["packing"]["windows_saved_by_packing_alone"], True),
        "the same, with the share of clips that stand alone too": target(4.0, found["packing"]["windows_saved"], True),
        "loading over training, windows a second": target(1.0, ahead, True),
        "memory added by a streamed epoch, MiB": target(FLAT, found["memory"]["growth_mebibytes"], False),
        **long_targets(found),
    }


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, help="an audiofolder with a speaker column")
    parser.add_argument("--model", help="the checkpoint that is trained")
    parser.add_argument("--language", default="nl")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="of training, after the first")
    parser.add_argument("--repeats", type=int, default=3, help="passes of the loader")
    parser.add_argument("--unpacked-share", type=float, default=Data.unpacked_share)
    parser.add_argument("--clips", type=int, default=20_000, help="synthetic clips that are streamed")
    parser.add_argument("--clip-seconds", type=float, default=1.0)
    parser.add_argument("--long-minutes", type=float, default=60.0, help="of m4a that is read in pieces")
    parser.add_argument("--long-hours", type=float, default=10.0, help="of FLAC that is transcribed")
    parser.add_argument("--only-long-files", action="store_true", help="put these into the result that is there")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    args = parser.parse_args(arguments)

    started = datetime.now(UTC).date().isoformat()
    out = result_file("data", args)
    command = shlex.join(["python", "benchmarks/data.py", *without(arguments or sys.argv[1:])])
    if args.only_long_files:
        result = json.loads(out.read_text(encoding="utf-8"))
        rows = [row | {"command": command, "date": started} for row in long_files(args.long_minutes, args.long_hours)]
        result["rows"] = [row for row in result["rows"] if not row["measure"].startswith("long ")] + rows
        return save(out, result | {"targets": targets(result["rows"])})
    if not (args.speech and args.model):
        parser.error("--speech and --model are needed, but for --only-long-files")
    long = long_files(args.long_minutes, args.long_hours)
    kept = memory(args.clips, args.clip_seconds)  # first, before a model fills the memory
    source = Source(folder=str(args.speech), speaker="speaker")
    data = Data(train=(source,), validation=(), test=(), unpacked_share=args.unpacked_share)
    config = Config(args.language, args.model, "none", data)
    start = checkpoint_folder(args.model, None)
    model, processor = load_main(start, torch.float32), load_processor(start)
    log_mel = LogMel(processor.feature_extractor)
    examples, packed = packing(config, model, processor)
    rows = [packed, loading(examples, log_mel, args.batch_size, args.workers, args.repeats)]
    rows += [training(examples, log_mel, model, args.batch_size, args.steps, args.device), kept, *long]
    result = {
        "command": command,
        "date": started,
        "machine": hardware(args.device) | {"threads": torch.get_num_threads()},
        "versions": versions(),
        "rows": rows,
        "targets": targets(rows),
    }
    return save(out, result)


def save(out: Path, result: dict) -> dict:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["targets"], indent=1))
    return result


if __name__ == "__main__":
    main()
