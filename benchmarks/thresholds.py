"""What the filters' defaults drop from real speech and from real labels, and what they let through.

    python benchmarks/thresholds.py --speech FOLDER --models openai/whisper-tiny openai/whisper-base --work FOLDER

FOLDER is an audiofolder with a `speaker` column, as benchmarks/dutch_speech.py writes. Stock models label it with every
filter off, each clip alone and packed into windows; the more they err, the more they hallucinate, so that there is
something to catch. A label is called worthless where it errs at least as often as the human text has words: an empty
one would be as good. What a default drops is split into worthless labels, which it is meant for, and sound ones (at
most SOUND of their words wrong), which are lost to it. The encoder runs in bf16; labels are kept in --work.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.pair import lines, rounded
from distill.label_filter import LabelFilter
from distill.labelling import Labeller, label_options, label_windows
from distill.labels import LabelRow, read_labels
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import checkpoint_folder, load_main, load_processor
from whisper_pair.config import Config, Data, Distill, Source
from whisper_pair.data import Corpus, load_training_clips, pack
from whisper_pair.decoding import Engine
from whisper_pair.runs import hardware, versions
from whisper_pair.text import Normalizer
from whisper_pair.training import FrozenEncoder, TargetTokens

RESULT = Path(__file__).parent / "results" / "thresholds.json"
DOCS = Path(__file__).parent.parent / "docs" / "data.md"
OPEN = {"min_seconds": 0.0, "min_characters_per_second": 0.0, "max_characters_per_second": 1e9}  # no filter
ALONE = SimpleNamespace(
    process_index=0, num_processes=1, is_main_process=True, device="cpu", wait_for_everyone=lambda: None
)  # what labelling asks of accelerate


def labels(model: str, corpus: Corpus, config: Config, packed: bool, work: Path) -> list[LabelRow]:
    """Rows of the model's labels; goes on where an earlier run stopped."""
    folder = work / f"{Path(model).name}-{'packed' if packed else 'alone'}"
    folder.mkdir(parents=True, exist_ok=True)
    start = checkpoint_folder(model, None)
    main, processor = load_main(start, torch.float32), load_processor(start)
    main.model.encoder.forward = torch.autocast("cpu", torch.bfloat16)(main.model.encoder.forward)
    log_mel = LogMel(processor.feature_extractor)
    labeller = Labeller(
        Engine(main),
        FrozenEncoder(main.model.encoder, log_mel),
        TargetTokens.of(main, processor.tokenizer, config.language, config.task),
        config,
        Normalizer(config.language),
        label_options(config),
    )
    data = replace(config.data, pack=packed, unpacked_share=0.0)
    with torch.no_grad():
        label_windows(labeller, pack(corpus.clips, data, log_mel.seconds, config.seed), folder, ALONE)
    return read_labels(folder)


SOUND, WORTHLESS = 0.25, 1.0  # error rates
PERCENTILES = {"least": 0, "1 %": 1, "median": 50, "99 %": 99, "greatest": 100}


def spread(values: Sequence[float]) -> dict[str, float]:
    return {name: float(np.percentile(values, share)) for name, share in PERCENTILES.items()}


def texts(corpus: Corpus, data: Data) -> dict:
    """Characters per second of the human texts, and what the defaults drop of them."""
    pace = np.array([len(clip.text.strip()) / clip.seconds for clip in corpus.clips])
    return {
        "measure": "characters per second of human text",
        "clips": len(pace),
        **spread(pace),
        "dropped": int(((pace < data.min_characters_per_second) | (pace > data.max_characters_per_second)).sum()),
    }


def signs(rows: Sequence[LabelRow], label_filter: LabelFilter) -> list[dict]:
    """Of each sign: how labels spread, and what its default drops, by itself."""
    s = label_filter.settings
    errors = np.array([row.error for row in rows])
    measures: dict[str, tuple[Callable[[LabelRow], float], float | None]] = {
        "tokens per second": (lambda row: len(row.tokens) / row.seconds, s.max_tokens_per_second),
        "compression ratio": (lambda row: row.compression_ratio, s.max_compression_ratio),
        "repeats in a row": (label_filter.repeats, s.max_repeats),
        "without an end": (lambda row: float(not row.finished), 0.0),
    }
    found, everything = [], np.zeros(len(rows), bool)
    for name, (measure, limit) in measures.items():
        values = np.array([measure(row) for row in rows])
        dropped = values > limit
        everything |= dropped
        found.append({"measure": name, "limit": limit, **spread(values), **counts(dropped, errors)})
    return [*found, {"measure": "all together", **counts(everything, errors)}]


def counts(dropped: np.ndarray, errors: np.ndarray) -> dict[str, int]:
    worthless, sound = errors >= WORTHLESS, errors <= SOUND
    return {
        "labels": len(errors),
        "worthless": int(worthless.sum()),
        "sound": int(sound.sum()),
        "dropped": int(dropped.sum()),
        "worthless_dropped": int((dropped & worthless).sum()),
        "sound_dropped": int((dropped & sound).sum()),
    }


def table(result: dict) -> str:
    """For docs/data.md."""
    head = "| | default | 1 % | median | 99 % | greatest | drops | of worthless | of sound |"
    markdown = [head, "| --- |" + " ---: |" * 8]
    for row in result["rows"]:
        if row.get("of") == "windows" and row["measure"] != "all together":  # in the result
            continue
        if "labels" not in row:
            figures = " | ".join(f"{row[name]:.1f}" for name in list(PERCENTILES)[1:])
            markdown.append(f"| {row['measure']} | 0.3 to 50 | {figures} | {row['dropped']} of {row['clips']} | | |")
            continue
        figures = " | ".join(f"{row[name]:.1f}" if name in row else "" for name in list(PERCENTILES)[1:])
        limit = f"{row['limit']:g}" if "limit" in row else ""
        markdown.append(
            f"| {row['model']}, {row['of']}: {row['measure']} | {limit} | {figures} | {row['dropped']} of "
            f"{row['labels']} | {row['worthless_dropped']} of {row['worthless']} | "
            f"{row['sound_dropped']} of {row['sound']} |"
        )
    return "\n".join([*markdown, "", f"`{result['command']}`, {result['date']}.", ""])


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="an audiofolder with text and a speaker column")
    parser.add_argument("--models", nargs="+", required=True, help="whose labels are judged")
    parser.add_argument(
        "--work", type=Path, required=True, help="where labels are kept: a second call scores them again"
    )
    parser.add_argument("--language", default="nl")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args(arguments)
    source = Source(folder=str(args.speech), speaker="speaker")
    data = Data(train=(source,), validation=(), test=(), cache=str(args.work / "data"), **OPEN)
    config = Config(args.language, args.models[0], "none", data)
    corpus = load_training_clips(data.train, data, 30.0)
    rows = [texts(corpus, Data((), (), ()))]
    label_filter = LabelFilter(Distill(), args.language, Normalizer(args.language))
    for model in args.models:
        for packed in (False, True):
            of = {"model": Path(model).name, "of": "windows" if packed else "single clips"}
            rows += [of | row for row in signs(labels(model, corpus, config, packed, args.work), label_filter)]
    given = [Path(word).name if Path(word).is_absolute() else word for word in arguments or sys.argv[1:]]
    result = {
        "command": " ".join(["python benchmarks/thresholds.py", *given]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": hardware("cpu"),
        "versions": versions(),
        "rows": rows,
        "targets": {},
    }
    args.out.write_text(lines(rounded(result)) + "\n", encoding="utf-8")
    if args.out == RESULT:
        text = DOCS.read_text(encoding="utf-8")
        marks = re.compile(r"(<!-- table thresholds -->\n).*?(<!-- end -->)", re.DOTALL)
        DOCS.write_text(marks.sub(lambda m: m[1] + table(rounded(result)) + m[2], text), encoding="utf-8")
    print(table(result))
    return result


if __name__ == "__main__":
    main()
