"""What a corpus in lower case does to a main's writing, and what restore_style saves of it.

    python benchmarks/style.py --speech realdata/dutch --model realdata/whisper-base --work style

The same speech three times: with its texts as they were written, in lower case without punctuation, and in lower case
with restore_style. Each fine-tunes a main by configs/real-dutch-base.yaml; the checkpoint before fine-tuning is
measured too. All are scored on the same test clips by WER, which ignores style, and by the share of words that are
written as in the human text: of those that a main gets right and that hold a capital or a punctuation mark there.
"""

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import write_result
from eval.measuring import spread_out
from train.finetune import finetune
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import load_main, load_processor
from whisper_pair.config import Config, load_config
from whisper_pair.data import features_of, load_test_clips
from whisper_pair.decoding import Engine, Options
from whisper_pair.text import Normalizer, error_rates, pooled, text_of

CONFIG = Path(__file__).parent.parent / "configs" / "real-dutch-base.yaml"
VARIANTS = ("as written", "lower case", "lower case, restored")


def lower_cased(folder: Path, speech: Path, normalizer: Normalizer) -> None:
    """Writes metadata of the same clips, its texts as most corpora have them."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(speech / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        copy = folder / row["file_name"]
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            shutil.copy(speech / row["file_name"], copy)
    with open(folder / "metadata.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["file_name", "text", "speaker"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row | {"text": normalizer(row["text"])} for row in rows)


def config_of(variant: str, args: argparse.Namespace) -> Config:
    """The shipped recipe over one form of the speech."""
    folder = args.speech / "train" if variant == VARIANTS[0] else args.work / "lower"
    restored = str(variant == VARIANTS[2]).lower()
    overrides = [
        f"model={args.model}",
        f"output={args.work / variant.replace(',', '').replace(' ', '-')}",
        f"data.train=[{{folder: {folder}, speaker: speaker, restore_style: {restored}, weight: {args.share}}}]",
        *(f"data.{split}=[{{folder: {args.speech / split}}}]" for split in ("validation", "test")),
        f"data.cache={args.work / 'data'}",
    ]
    return load_config(CONFIG, [*overrides, *args.overrides])


def judged(main: Path, config: Config, device: str, share: float) -> dict[str, float]:
    """WER and the share of kept style of a checkpoint, on a share of the test clips, taken evenly."""
    processor, model = load_processor(main), load_main(main, torch.float32, device)
    log_mel, normalizer = LogMel(processor.feature_extractor), Normalizer.of(config.language, processor.tokenizer)
    clips = load_test_clips(config.data.test, config.data, log_mel.seconds, "test")
    clips = [clips[row] for row in spread_out(len(clips), max(1, round(share * len(clips))))]
    engine, options = Engine(model), Options(language=config.language, draft_tokens=0, batch_size=16)
    written = []
    for start in range(0, len(clips), options.batch_size):
        some = clips[start : start + options.batch_size]
        decoded = engine.decode(features_of(some, log_mel, device), options)
        written += [text_of(processor.tokenizer, one.tokens).strip() for one in decoded]
    references = [clip.text or "" for clip in clips]
    rate = pooled(error_rates(references, written, config.language, normalizer)).rate
    kept, styled = kept_style(references, written, normalizer)
    return {"wer": rate, "style_kept": kept / max(1, styled), "styled_words": styled, "clips": len(clips)}


def kept_style(references: Sequence[str], hypotheses: Sequence[str], normalizer: Normalizer) -> tuple[int, int]:
    """(words written as in the reference, words): of those that the hypothesis has right and that hold a capital or a
    punctuation mark in the reference."""
    kept = styled = 0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        ours, theirs = _words(reference, normalizer), _words(hypothesis, normalizer)
        matcher = SequenceMatcher(None, [bare for bare, _ in ours], [bare for bare, _ in theirs], autojunk=False)
        for block in matcher.get_matching_blocks():
            for i in range(block.size):
                (bare, wanted), (_, found) = ours[block.a + i], theirs[block.b + i]
                if wanted != bare:
                    styled += 1
                    kept += wanted == found
    return kept, styled


def _words(text: str, normalizer: Normalizer) -> list[tuple[str, str]]:
    """(as it is compared, as it is written) of each word."""
    pairs = ((normalizer(word).replace(" ", ""), word) for word in text.split())
    return [(bare, word) for bare, word in pairs if bare]


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="train/, validation/ and test/ of dutch_speech.py")
    parser.add_argument("--model", required=True, help="the checkpoint to fine-tune")
    parser.add_argument(
        "--work", type=Path, required=True, help="where the mains are kept: a second call scores them again"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the training clips, to save time")
    parser.add_argument("--judged", type=float, default=1.0, help="share of the test clips, to save time")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--machine", help="a suffix of the result's name")
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the config, such as train.epochs=1")
    args = parser.parse_args(arguments)
    args.speech, args.work = args.speech.resolve(), args.work.resolve()
    lower_cased(args.work / "lower", args.speech / "train", Normalizer("nl"))
    config = config_of(VARIANTS[0], args)
    rows = [{"variant": "before fine-tuning"} | judged(Path(args.model), config, args.device, args.judged)]
    for variant in VARIANTS:
        config = config_of(variant, args)
        rows.append({"variant": variant} | judged(finetune(config), config, args.device, args.judged))
        print(rows[-1], flush=True)
    by_name = {row["variant"]: row for row in rows}
    lost = by_name["as written"]["style_kept"] - by_name["lower case, restored"]["style_kept"]
    targets = {
        "style lost by a restored corpus": {"target": 0.05, "reached": round(lost, 4), "higher_is_better": False}
    }
    return write_result("style", args, arguments or sys.argv[1:], rows, targets)


if __name__ == "__main__":
    main()
