"""A transcription as text, subtitles or data. A cue is a segment, or with word times at most two short lines of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from .recording import Transcription, Word

LINE = 42  # characters; the usual limit of broadcasters' guidelines
LINES = 2
LONGEST_CUE = 7.0  # seconds


@dataclass(frozen=True)
class Cue:
    start: float  # seconds
    end: float
    text: str


def cues(heard: Transcription) -> list[Cue]:
    """In order, each over before the next begins."""
    found = []
    for segment in heard.segments:
        if segment.words:
            found += [Cue(part[0].start, part[-1].end, lines(part)) for part in parts(segment.words)]
        elif segment.text.strip():
            found.append(Cue(segment.start, segment.end, segment.text.strip()))
    return [replace(cue, end=min(cue.end, max(cue.start, after.start))) for cue, after in pairwise(found)] + found[-1:]


def parts(words: list[Word]) -> Iterator[list[Word]]:
    """Runs of words that fit a cue's lines and its time."""
    part: list[Word] = []
    for word in words:
        longer = [*part, word]
        if part and (lines(longer).count("\n") >= LINES or word.end - part[0].start > LONGEST_CUE):
            yield part
            longer = [word]
        part = longer
    if part:
        yield part


def lines(words: list[Word]) -> str:
    """Words filled into lines; only a word that is longer than a line makes a longer one."""
    filled = [""]
    for word in words:
        if filled[-1] and len((filled[-1] + word.text).strip()) > LINE:
            filled.append("")
        filled[-1] += word.text
    return "\n".join(line.strip() for line in filled)


def clock(seconds: float, point: str) -> str:
    """hours:minutes:seconds and milliseconds"""
    thousandths = round(seconds * 1000)
    rest, thousandths = divmod(thousandths, 1000)
    minutes, seconds = divmod(rest, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"


def as_txt(heard: Transcription) -> str:
    return heard.text + "\n"


def as_srt(heard: Transcription) -> str:
    blocks = (
        f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{cue.text.replace('-->', '->')}\n"
        for number, cue in enumerate(cues(heard), 1)
    )
    return "\n".join(blocks)


def as_vtt(heard: Transcription) -> str:
    escaped = ((cue, cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) for cue in cues(heard))
    blocks = (f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n" for cue, text in escaped)
    return "\n".join(["WEBVTT\n", *blocks])


def as_tsv(heard: Transcription) -> str:
    """Milliseconds, as openai/whisper writes them."""
    rows = (
        f"{round(1000 * cue.start)}\t{round(1000 * cue.end)}\t{' '.join(cue.text.split())}\n" for cue in cues(heard)
    )
    return "".join(["start\tend\ttext\n", *rows])


def as_json(heard: Transcription) -> str:
    return json.dumps(asdict(heard), ensure_ascii=False, indent=1) + "\n"


FORMATS: dict[str, Callable[[Transcription], str]] = {
    "txt": as_txt,
    "srt": as_srt,
    "vtt": as_vtt,
    "tsv": as_tsv,
    "json": as_json,
}
