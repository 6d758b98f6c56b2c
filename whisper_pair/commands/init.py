"""`whisper-pair init LANGUAGE`: a config to start from, with what is known of the language's speech on the Hub."""

import argparse
import os
from pathlib import Path

from ..config import home
from ..errors import InputError
from ..runs import write_text
from ..text import Corpus, code_of, corpora, metric_name, name_of

SUMMARY = "write a config for one of Whisper's languages"

# (hours from which it holds, what to expect). Reckoned from published recipes, not measured here: Distil-Whisper's
# README reports WER 76 % for a Hindi student of 15 hours under a teacher of 17 %, and its English ones took 22,000 h.
ADVICE = (
    (500, "Enough for a close pair: fine-tune once over all of it, and keep two decoder layers."),
    (
        50,
        "Enough to fine-tune the main. The assistant gains from more audio of any kind, transcribed or not (text:"
        " null), for the main writes its labels.",
    ),
    (
        5,
        "Little: expect the main to gain some and the assistant to agree far less than the 70 to 80 % of published"
        " pairs. Add audio without text (text: null) by the hundred hours: it needs no transcripts, only the main.",
    ),
    (
        0,
        "No corpus on the Hub is known here: bring your own. From about 5 transcribed hours fine-tuning begins to pay;"
        " below, set train: null and distil for Whisper as it stands. The assistant also learns from audio alone.",
    ),
)
OWN = (
    "From about 5 transcribed hours fine-tuning begins to pay; under that, set train: null below and distil for Whisper"
    " as it stands. The assistant also learns from audio alone (text: null), by the hundred hours if you have them."
)
COMMON_VOICE = (
    "# Common Voice may have more: it left the Hub in October 2025 (Mozilla Data Collective); add it as a folder."
)
UNVERIFIED = (
    "# Not yet measured: everything. Not verified: the hours (they are the papers'), and that each data set still",
    "# loads under these names; the run checks them before it trains.",
)


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("language", help="a code or a name: nl, nl-BE, Dutch, Nederlands")
    parser.add_argument("--model", default="openai/whisper-large-v3", help="the Whisper to start from")
    parser.add_argument("--clips", metavar="DIR", help="your own: train/, validation/ and test/, instead of the Hub's")
    parser.add_argument("--out", type=home, metavar="FILE", help="where the config goes (NAME.yaml); - prints it")


def run(args: argparse.Namespace) -> None:
    """Writes the config, or prints it."""
    code = code_of(args.language)
    slug = name_of(code).lower().replace(" ", "-")
    text = config_text(code, args.model, slug, args.clips)
    if args.out == "-":
        print(text, end="")
        return
    path = Path(args.out or f"{slug}.yaml")
    if os.path.lexists(path):  # never over a config that someone has worked on
        raise InputError(f"{path}: is there already; choose another name with --out.")
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}).") from error
    print(f"{path}: read its head, then: whisper-pair run {path}")


def config_text(code: str, model: str, slug: str, clips: str | None = None) -> str:
    """`clips`: the folder of one's own speech; None: the Hub's corpora, where some are known."""
    found = [] if clips else corpora(code)
    hours = sum(corpus.hours for corpus in found)
    judging = [corpus for corpus in found if corpus.judges]
    folder = clips or "clips"
    lines = [
        f"# {name_of(code)}: {model} and an assistant of 2 decoder layers.",
        "#",
        f"#   whisper-pair run {slug}.yaml",
        "#",
        *(told_of(clips) if clips else known(found)),
        "#",
        *folded(OWN if clips else next(advice for least, advice in ADVICE if hours >= least)),
        "# Reckoned from published recipes, not measured.",
        "#",
        f"# Judged by {metric_name(code).upper()}"
        + (": it is written without spaces." if metric_name(code) == "cer" else "."),
        *(UNVERIFIED if found else ["# Not yet measured: everything."]),
        "",
        f'language: "{code}"' if code == "no" else f"language: {code}",
        f"model: {model}",
        f"output: outputs/{slug}",
        "",
        "data:",
        "  train:",
    ]
    for corpus in found:
        lines += source_lines(corpus, "train")
    if not found:
        lines += [f"    - folder: {folder}/train  # audio files and a metadata.csv: file_name,text"]
    for split in ("validation", "test"):
        lines.append(f"  {split}:")
        for corpus in judging:
            lines += source_lines(corpus, split)
        if not judging:
            lines.append(f"    - folder: {folder}/{split}")
    lines += [
        "  long_test_audio: drop  # Whisper hears 30 s at once; the count of longer clips is printed",
        "",
        "train:",
        f"  epochs: {1 if hours >= 500 else 3}",
        "",
        "distill:",
        "  layers: 2",
        f"  epochs: {3 if hours >= 500 else 10}",
        "  max_label_error: 0.5  # drops what the main invented; its honest errors are what the assistant must predict",
        "",
    ]
    return "\n".join(lines)


def told_of(clips: str) -> list[str]:
    """What the head of a config says of one's own speech."""
    return [
        f"# Your own speech in {clips}: train/, validation/ and test/, each with audio files and a metadata.csv",
        "# (file_name,text). What it holds in hours, and what is dropped and why, is told by the run, in data.md.",
    ]


def known(found: list[Corpus]) -> list[str]:
    """What the head of a config says of the Hub's corpora."""
    if not found:
        return [
            "# No transcribed corpus on the Hub is known for it: the folders below are yours to fill.",
            COMMON_VOICE,
        ]
    total = sum(corpus.hours for corpus in found)
    rows = [
        f"#   {corpus.hub}, {corpus.config}: about {corpus.hours} h, {corpus.what}\n"
        f"#     {corpus.licence}; text: {corpus.style}"
        for corpus in found
    ]
    return [f"# Known on the Hub, about {total} hours of transcribed speech for training:", *rows, COMMON_VOICE]


def folded(text: str, width: int = 116) -> list[str]:
    """A text as lines of comment."""
    import textwrap

    return [f"# {line}" for line in textwrap.wrap(text, width)]


def source_lines(corpus: Corpus, split: str) -> list[str]:
    """One source of a config, as lines of YAML."""
    keys = {"hub": corpus.hub, "config": corpus.config, "revision": corpus.revision, "split": split}
    keys |= {"audio": corpus.audio, "text": corpus.text, "speaker": corpus.speaker if split == "train" else None}
    told = [f"{key}: {value}" for key, value in keys.items() if value and (key, value) != ("split", "train")]
    return [f"    - {told[0]}", *(f"      {line}" for line in told[1:])]
