"""What it takes to teach a main windows as long as their speech, and what it gives: one row a variant and seed.

    python benchmarks/short_training.py --speech realdata/dutch --model realdata/whisper-base --work short --seeds 0 1 2

Each variant fine-tunes a main by configs/real-dutch-base.yaml with a few overrides, and is judged on the same test
clips in full windows and in windows as long as each clip and a margin, rounded up as decoding rounds them: WER, texts
that ran into the length limit (loops), texts without their last words, CPU-seconds of training steps, and the WER of
recordings of up to two minutes. The checkpoint before fine-tuning stands beside them. A row is written when its run
ends and is not run again; a training that was stopped goes on.
"""

import argparse
import csv
import json
import shutil
import sys
import time
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import result_file, write_result
from benchmarks.timestamps import long_recordings, transcribed
from train.finetune import finetune
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import load_main, load_processor
from whisper_pair.config import Config, load_config
from whisper_pair.data import Clip, Window, features_of, load_test_clips
from whisper_pair.decoding import Decoded, Engine, Options, shortened, window_frames
from whisper_pair.text import Normalizer, error_rates, pooled, text_of
from whisper_pair.training import DECODING_MARGIN, loop

CONFIG = Path(__file__).parent.parent / "configs" / "real-dutch-base.yaml"
STOCK = "before fine-tuning"
ALL = ("train.parameters=all", "train.learning_rate=2e-5")
DECODER = ("train.parameters=decoder", "train.learning_rate=2e-5")
SHORT = "train.short_windows={}"
MOSTLY = "train.short_windows={share: 0.8}"
VARIANTS = {
    "LoRA and encoder, full": (),
    "LoRA and encoder, half short": (SHORT,),
    "LoRA and encoder, mostly short": (MOSTLY,),
    "LoRA and encoder, mostly short, twice as long": (MOSTLY, "train.epochs=5"),
    "all weights, full": ALL,
    "all weights, mostly short": (*ALL, MOSTLY),
    "decoder alone, mostly short": (*DECODER, MOSTLY),
    "LoRA in the decoder, half short": ("train.lora.encoder=false", SHORT),
    # as many steps as with clips that are joined
    "LoRA and encoder, full, clips not joined": ("data.pack=false", "train.epochs=0.35"),
    "LoRA and encoder, half short, clips not joined": (SHORT, "data.pack=false", "train.epochs=1.6"),
    "LoRA and encoder, half short, margin up to 4 s": ("train.short_windows={margin: [0.3, 4.0]}",),
    "LoRA and encoder, half short, no timestamps": (SHORT, "data.timestamps=0"),
}
MARGINS = (0.5, 1.0, 2.0)  # seconds after the clip that a window lasts at least
LIMIT = 120  # tokens: four times the longest text of a test clip
ENDING = 2  # words


class Judged(NamedTuple):
    """The transcripts of the test clips in windows of one kind."""

    wer: float
    loops: int  # that ran into the length limit
    missing_ends: int  # without the last ENDING words, though right before them
    seconds: float  # to encode and decode them, on this machine as busy as it was


def config_of(variant: str, seed: int, args: argparse.Namespace) -> Config:
    """The shipped recipe with a variant's overrides."""
    name = variant.replace(",", "").replace(" ", "-")
    overrides = [
        f"model={args.model}",
        f"output={args.work / f'{name}-{seed}'}",
        f"seed={seed}",
        f"data.train=[{{folder: {args.speech / 'train'}, speaker: speaker}}]",
        f"data.validation=[{{folder: {one_clip(args)}}}]",  # none is chosen: each main is that of its last step
        f"data.test=[{{folder: {args.speech / 'test'}}}]",
        f"data.cache={args.work / 'data'}",
        "train.evaluations=1",
    ]
    return load_config(CONFIG, [*overrides, *VARIANTS[variant], *args.overrides])


def one_clip(args: argparse.Namespace) -> Path:
    """A folder with the first of the validation clips."""
    folder, source = args.work / "one-clip", args.speech / "validation"
    if not (folder / "metadata.csv").is_file():
        with open(source / "metadata.csv", encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file))
        (folder / row["file_name"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / row["file_name"], folder / row["file_name"])
        with open(folder / "metadata.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerow(row)
    return folder


def trained(config: Config) -> tuple[Path, float]:
    """The finished main, and the CPU-seconds that its steps took in this process: 0 where it was there already."""
    step, seconds = loop.take_step, 0.0

    def timed(*arguments, **more):
        nonlocal seconds
        began = time.process_time()
        try:
            return step(*arguments, **more)
        finally:
            seconds += time.process_time() - began

    loop.take_step = timed
    try:
        return finetune(config), seconds
    finally:
        loop.take_step = step


def judged(main: Path, config: Config, limit: int | None, device: str) -> dict[str, dict]:
    """By kind of window."""
    processor, model = load_processor(main), load_main(main, torch.float32, device)
    log_mel = LogMel(processor.feature_extractor)
    clips = load_test_clips(config.data.test, config.data, log_mel.seconds, "test")[:limit]
    features = torch.cat([features_of([clip], log_mel, device) for clip in clips])
    full = model.config.max_source_positions
    kinds = {"full": [full] * len(clips)} | {
        f"clip + {margin:g} s": [window_frames(clip.seconds, margin, full) for clip in clips] for margin in MARGINS
    }
    found = {}
    for kind, frames in kinds.items():
        began = time.process_time()
        decoded = in_windows(model, features, frames, config.language)
        seconds = time.process_time() - began
        found[kind] = score(clips, decoded, config.language, processor.tokenizer, seconds)._asdict()
        print(f"  {kind}: {found[kind]}", flush=True)
    return found


def long_form_wer(main: Path, config: Config) -> float | None:
    """Of recordings of up to two minutes, made of the test clips; the last window of each may be short. None: the clips
    make up none."""
    processor = load_processor(main)
    seconds = LogMel(processor.feature_extractor).seconds
    recordings = long_recordings(load_test_clips(config.data.test, config.data, seconds, "test"), config, seconds)
    if not recordings:
        return None
    texts = [found.text for found in transcribed(main, recordings, config)]
    references = [window.text or "" for window in recordings]
    normalizer = Normalizer.of(config.language, processor.tokenizer)
    return pooled(error_rates(references, texts, config.language, normalizer)).rate


def in_windows(
    model, features: Tensor, frames: Sequence[int], language: str, limit: int | None = LIMIT
) -> list[Decoded]:
    """Transcripts, of at most `limit` tokens, of features [clips, mel, full], each in a window of so many frames."""
    options = Options(language=language, draft_tokens=0, batch_size=8, max_new_tokens=limit)
    order = sorted(range(len(frames)), key=lambda row: frames[row])  # a batch is of similar lengths
    decoded = Engine(model).decode([shortened(features[row], frames[row]) for row in order], options)
    return [found for _, found in sorted(zip(order, decoded, strict=True), key=lambda pair: pair[0])]


def score(
    clips: Sequence[Clip | Window], decoded: Sequence[Decoded], language: str, tokenizer, seconds: float
) -> Judged:
    """Of transcripts of the clips."""
    normalizer = Normalizer.of(language, tokenizer)
    texts, references = [text_of(tokenizer, one.tokens) for one in decoded], [clip.text or "" for clip in clips]
    rate = pooled(error_rates(references, texts, language, normalizer)).rate
    ends = sum(lacks_end(normalizer(one), normalizer(two)) for one, two in zip(references, texts, strict=True))
    return Judged(rate, sum(not one.finished for one in decoded), ends, seconds)


def lacks_end(reference: str, text: str) -> bool:
    """Whether the text stops at least ENDING words before the reference does, with its own last word right."""
    ours, theirs = reference.split(), text.split()
    blocks = [
        block for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks() if block.size
    ]
    if not blocks:
        return False
    last = blocks[-1]
    return last.b + last.size == len(theirs) and len(ours) - (last.a + last.size) >= ENDING


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="train/, validation/ and test/ of dutch_speech.py")
    parser.add_argument("--model", required=True, help="the checkpoint to fine-tune")
    parser.add_argument("--work", type=Path, required=True, help="where the mains are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", metavar="VARIANT", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--clips", type=int, help="test clips at most; all otherwise")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--machine", help="a suffix of the result's name")
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the config, such as train.epochs=1")
    args = parser.parse_intermixed_args(arguments)
    transformers.logging.set_verbosity_error()
    args.speech, args.work = args.speech.resolve(), args.work.resolve()
    out = result_file("short_training", args)
    rows = json.loads(out.read_text())["rows"] if out.is_file() else []
    done = {(row["variant"], row["seed"]) for row in rows}
    result: dict = {}
    for variant, seed in [(STOCK, None), *((variant, seed) for seed in args.seeds for variant in args.only)]:
        if (variant, seed) in done:
            continue
        print(f"{variant}, seed {seed}", flush=True)
        config = config_of(variant if seed is not None else next(iter(VARIANTS)), seed or 0, args)
        folder, seconds = (Path(args.model), 0.0) if seed is None else trained(config)
        steps = 0 if seed is None else json.loads((folder / "history.json").read_text())["step"]
        row = {"variant": variant, "seed": seed, "steps": steps, "cpu_seconds": round(seconds, 1)}
        row["windows"] = judged(folder, config, args.clips, args.device)
        rows.append(row | {"long_wer": long_form_wer(folder, config)})
        result = write_result("short_training", args, arguments or sys.argv[1:], rows, targets(rows))
    return result


def targets(rows: Sequence[dict]) -> dict[str, dict]:
    """Points of WER that short windows cost: of the first variant that learned them against the one that did not."""
    first, short = list(VARIANTS)[:2]
    wer = {name: [row["windows"] for row in rows if row["variant"] == name] for name in (first, short)}
    if not all(wer.values()):
        return {}
    full = sum(each["full"]["wer"] for each in wer[first]) / len(wer[first])
    kinds = "full", f"clip + {DECODING_MARGIN:g} s"
    cost = {kind: sum(each[kind]["wer"] for each in wer[short]) / len(wer[short]) - full for kind in kinds}
    return {
        f"WER in windows ({kind}) above that of a main trained on full ones": {
            "target": 0.003,
            "reached": round(more, 4),
            "higher_is_better": False,
        }
        for kind, more in cost.items()
    }


if __name__ == "__main__":
    main()
