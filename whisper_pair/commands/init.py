"""`whisper-pair init LANGUAGE`: a config to start from, out of one's own speech or what is known of the language's."""

import argparse
import os
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Source, home
from ..errors import InputError
from ..runs import write_text
from ..text import Corpus, code_of, corpora, lacks, metric_name, name_of, other_corpora

if TYPE_CHECKING:
    from ..data import Look

SUMMARY = "write a config for one of Whisper's languages"
SHARE = 0.05  # of one's own speech, for validation and for test each, where it has no splits

# (hours from which it holds, what to expect). Estimated from published recipes, not measured here: Distil-Whisper's
# README reports WER 76 % for a Hindi student of 15 hours under a teacher of 17 %, and its English ones took 22,000 h.
ADVICE = (
    (500, "Enough for a close pair: fine-tune once over all of it, and keep two decoder layers."),
    (
        50,
        "Enough to fine-tune the main. The assistant gains from more audio of any kind, transcribed or not (text:"
        " null), for the main writes its labels.",
    ),
    (
        0,
        "Little: expect the main to gain some and the assistant to agree far less than the 70 to 80 % of published"
        " pairs. Add hundreds of hours of audio without text (text: null): it needs no transcripts, only the main.",
    ),
)
MUCH_AUDIO = "Audio enough for a close assistant. The main has about {written} hours of text, from which it gains some."
OWN = (
    "From about 5 transcribed hours fine-tuning begins to pay; under that, set train: null below and distil for Whisper"
    " as it is. The assistant also learns from audio alone (text: null), hundreds of hours if you have them."
)
COMMON_VOICE = (
    "# Common Voice may have more: it left the Hub in October 2025 (Mozilla Data Collective); download its tar and add",
    "# it as it is: corpus: cv-corpus-...-{code}.tar.gz",
)
UNVERIFIED = (
    "# Not yet measured: everything. Not verified: the hours (they are the papers'), and that each data set still",
    "# loads under these names; the run checks them before it trains.",
)


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("language", help="a code or a name: nl, nl-BE, Dutch, Nederlands")
    parser.add_argument("--model", default="openai/whisper-large-v3", help="the Whisper to start from")
    parser.add_argument("--clips", type=home, metavar="PATH", help="your own speech in any known layout, not the Hub's")
    parser.add_argument("--out", type=home, metavar="FILE", help="where the config goes (NAME.yaml); - prints it")


def run(args: argparse.Namespace) -> None:
    """Writes the config, or prints it."""
    code = code_of(args.language)
    if (reason := lacks(args.model, code)) is not None:
        raise InputError(f"language {code}: {reason}.")
    slug = name_of(code).lower().replace(" ", "-")
    path = Path(f"{slug}.yaml" if args.out in (None, "-") else args.out)
    if args.out != "-":
        if path.suffix.lower() not in (".yaml", ".yml"):
            raise InputError(f"--out {args.out}: expected a file that ends in .yaml, or - to print it.")
        if os.path.lexists(path):  # never over a config that someone has worked on
            raise InputError(f"{path}: is there already; choose another name with --out.")
    slug = _free(slug if args.out in (None, "-") else path.stem)
    own = _looked_at(args.clips, str(_output(slug) / "data")) if args.clips else None
    text = config_text(code, args.model, slug, own, str(path))
    if args.out == "-":
        print(text, end="")
        return
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}).") from error
    if own is not None:
        print(f"{args.clips}: {own.about}")
    print(f"{path}: read the comments at its top, then: whisper-pair run {path}")


def _output(slug: str) -> Path:
    return Path("outputs") / slug


def _free(slug: str) -> str:
    """A name for which outputs/ holds nothing yet but data, so that no other run's results are in the way."""
    number, free = 2, slug
    while os.path.lexists(folder := _output(free)) and not (folder.is_dir() and os.listdir(folder) == ["data"]):
        free, number = f"{slug}-{number}", number + 1
    return free


@dataclass(frozen=True)
class Own:
    """One's own speech: where it lies, what a look at it found, and the split or share for each part of the data."""

    clips: str
    about: "Look"
    splits: dict[str, str | float]

    @property
    def style(self) -> list[str]:
        """What its texts teach the main, in a line."""
        if not self.about.texts:
            return ["# It has no text: the main stays as it is, and the assistant learns from its own transcripts."]
        if self.about.written:
            return ["# Its texts are written with capitals and punctuation, and the main keeps writing so."]
        return [
            "# Its texts lack capitals or punctuation, and a main that learns them writes so. With restore_style it",
            "# learns its own transcript of each clip where that differs from the text in these alone.",
        ]


def _looked_at(clips: str, cache: str) -> Own:
    """`cache`: where an archive is unpacked, and found by the run. Raises InputError where there is no speech, or none
    of a known layout."""
    from ..data import look

    splits: dict[str, str | float] = {"train": "train"}
    source = Source(corpus=clips)
    try:
        about = look(source, cache)
    except InputError:
        if not Path(clips).exists():
            raise
        about = look(replace(source, text=None), cache)  # or its refusal, which names what is there
    for split in ("validation", "test"):
        try:
            look(Source(corpus=clips, split=split), cache)
            splits[split] = split
        except InputError:
            splits[split] = SHARE
    return Own(clips, about, splits)


def config_text(code: str, model: str, slug: str, own: Own | None = None, file: str | None = None) -> str:
    """A config, commented. `slug` names its output; `own`: one's own speech, or None for the Hub's corpora; `file`:
    where the config will be."""
    found = [] if own else corpora(code)
    hours = sum(corpus.hours for corpus in found)
    written = sum(corpus.hours for corpus in found if corpus.written)
    without_text = own is not None and not own.about.texts
    lines = [
        f"# {name_of(code)}: {model} and an assistant of 2 decoder layers.",
        "#",
        f"#   whisper-pair run {file or f'{slug}.yaml'}",
        "#",
        *(_own_head(own) if own else _known(found, code)),
        "#",
        *_folded(_advice(hours, written) if found else OWN),
        "# Estimated from published recipes, not measured.",
        "#",
        f"# Judged by {metric_name(code).upper()}"
        + (": it is written without spaces." if metric_name(code) == "cer" else "."),
        *(UNVERIFIED if found else ["# Not yet measured: everything."]),
        "",
        f'language: "{code}"' if code == "no" else f"language: {code}",
        f"model: {model}",
        f"output: {_output(slug).as_posix()}",
        "",
        "data:",
    ]
    for split in ("train", "validation", "test"):
        lines.append(f"  {split}:")
        lines += _own_source(own, split) if own else _known_sources(found, split)
    lines += [
        "  long_test_audio: drop  # Whisper takes 30 s at once; the count of longer clips is printed",
        "",
        *(["train: null  # there is no text to train on"] if without_text else ["train:"]),
        *([] if without_text else [f"  epochs: {1 if written >= 500 else 3}"]),
        "",
        "distill:",
        "  layers: 2",
        f"  epochs: {3 if hours >= 500 else 10}",
        "  max_label_error: 0.5  # drops what the main invented; its honest errors are what the assistant must predict",
        "",
    ]
    return "\n".join(lines)


def _advice(hours: int, written: int) -> str:
    """`hours`: of all speech; `written`: of that with text that the main learns."""
    if hours >= 500 > written:
        return MUCH_AUDIO.format(written=written)
    return next(advice for least, advice in ADVICE if hours >= least)


def _own_head(own: Own) -> list[str]:
    divided = [split for split, of in own.splits.items() if isinstance(of, float)]
    shares = [
        f"# {' and '.join(divided).capitalize()}: {100 * SHARE:.0f} % of it each, by speakers, always the same way."
    ]
    found = _folded(f"Your own speech in {own.clips}: {own.about}.")
    return [*found, *own.style, *(shares if divided else []), "# What is dropped, and why, is in the run's data.md."]


def _known(found: list[Corpus], code: str) -> list[str]:
    common_voice = [line.format(code=code) for line in COMMON_VOICE]
    others = [
        line
        for other in other_corpora(code)
        for line in (
            *_folded(f"{other.what}{f': {other.hours} h' if other.hours else ''}; {other.get}", "#   "),
            *_folded(f"{other.licence}; text: {other.style}", "#     "),
        )
    ]
    if others:
        others = ["# Known too, and yours to add once you have read its licence:", *others]
    if not found:
        none = "# No transcribed corpus on the Hub is known for it: bring your own into the folders below."
        return [none, *others, *common_voice]
    total = sum(corpus.hours for corpus in found)
    rows = [
        f"#   {corpus.hub}, {corpus.config}: about {corpus.hours} h, {corpus.what}\n"
        f"#     {corpus.licence}; text: {corpus.style}"
        for corpus in found
    ]
    alone = []
    if not all(corpus.written for corpus in found):
        alone = _folded(
            "Text without capitals and punctuation would teach the main to write so: where text is null, the audio"
            " serves the assistant alone. To train on such text too, name its column and set restore_style: true, which"
            " learns the model's own transcript where it differs in these alone."
        )
    return [f"# Known on the Hub, about {total} hours of speech for training:", *rows, *alone, *others, *common_voice]


def _known_sources(found: list[Corpus], split: str) -> list[str]:
    chosen = [corpus for corpus in found if corpus.judges or split == "train"]
    if not chosen:
        more = "  # audio files and a metadata.csv: file_name,text" if split == "train" else ""
        return [f"    - folder: clips/{split}{more}"]
    return [line for corpus in chosen for line in source_lines(corpus, split)]


def _own_source(own: Own | None, split: str) -> list[str]:
    assert own is not None
    lines = [f"    - corpus: {_quoted(own.clips)}"]
    if own.splits[split] != Source.split:
        lines.append(f"      split: {own.splits[split]}")
    if not own.about.texts and split == "train":
        lines.append("      text: null")
    if own.about.texts and not own.about.written and split == "train":
        lines.append("      restore_style: true")
    return lines


def _quoted(text: str) -> str:
    import json

    plain = text.replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum()
    return text if plain else json.dumps(text, ensure_ascii=False)


def _folded(text: str, before: str = "# ", width: int = 118) -> list[str]:
    """Lines of a comment, each after `before`, of at most `width` characters."""
    return [before + line for line in textwrap.wrap(text, width - len(before), break_long_words=False)]


def source_lines(corpus: Corpus, split: str) -> list[str]:
    """A corpus of the table as a source of a config."""
    text = corpus.text if corpus.written or split != "train" else "null"
    speaker = corpus.speaker if split == "train" else None
    keys = {"hub": corpus.hub, "config": corpus.config, "revision": corpus.revision, "split": split}
    keys |= {"audio": corpus.audio, "text": text, "speaker": speaker}
    lines = [f"{key}: {value}" for key, value in keys.items() if value and (key, value) != ("split", "train")]
    return [f"    - {lines[0]}", *(f"      {line}" for line in lines[1:])]
