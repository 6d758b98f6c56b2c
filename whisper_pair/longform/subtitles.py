"""A transcription as text, subtitles or data. A cue is at most two short lines of a segment.

With word times a cue lasts as its words do. Without them a segment that is too long for one cue is also cut,
and its time is divided by the characters of the parts.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, pairwise

from .. import escaping
from ..text import WITHOUT_SPACES
from .recording import Segment, Transcription, Word

LINE = 42  # characters; the usual limit of broadcasters' guidelines
LINES = 2
LONGEST_CUE = 7.0  # seconds


@dataclass(frozen=True)
class Cue:
    """One subtitle: its time and its lines."""

    start: float  # seconds
    end: float
    text: str


def cues(transcription: Transcription) -> list[Cue]:
    """In order, each over before the next begins."""
    found = []
    for segment in transcription.segments:
        timed = parts(segment.words, LONGEST_CUE) or parts(shared_out(segment, transcription.language))
        found += [Cue(part[0].start, part[-1].end, escaping.cue(balanced_lines(part))) for part in timed]
    return [replace(cue, end=min(cue.end, max(cue.start, after.start))) for cue, after in pairwise(found)] + found[-1:]


def shared_out(segment: Segment, language: str | None) -> list[Word]:
    """A segment's words (characters, where it is written without spaces), its time divided by their lengths."""
    text = segment.text.strip()
    texts = list(text) if language in WITHOUT_SPACES else re.findall(r"\s*\S+", text)
    seconds = (segment.end - segment.start) / max(1, len(text))  # of a character
    places = [0, *accumulate(map(len, texts))]
    times = [segment.start + seconds * place for place in places]
    return [Word(word, start, end) for word, (start, end) in zip(texts, pairwise(times), strict=True)]


def parts(words: list[Word], longest: float = float("inf")) -> list[list[Word]]:
    """Runs of words that fit a cue's lines and its time, no more of them than need be and about equally long."""
    count = len(filled(words, LINE, longest))
    return next(found for width in range(1, LINE + 1) if len(found := filled(words, width, longest)) <= count)


def filled(words: list[Word], width: int, longest: float) -> list[list[Word]]:
    """Each run takes as many words as fit."""
    runs: list[list[Word]] = []
    for word in words:
        if runs and len(lines([*runs[-1], word], width)) <= LINES and word.end - runs[-1][0].start <= longest:
            runs[-1].append(word)
        else:
            runs.append([word])
    return runs


def balanced_lines(words: list[Word]) -> list[str]:
    """As few lines as need be, about equally long."""
    count = len(lines(words, LINE))
    return next(found for width in range(1, LINE + 1) if len(found := lines(words, width)) <= count)


def lines(words: list[Word], width: int) -> list[str]:
    """Words filled into lines; only a word that is longer than a line makes a longer one."""
    found = [""]
    for word in words:
        if found[-1] and len((found[-1] + word.text).strip()) > width:
            found.append("")
        found[-1] += word.text
    return [line.strip() for line in found]


def clock(seconds: float, point: str) -> str:
    """hours:minutes:seconds and milliseconds"""
    thousandths = round(seconds * 1000)
    rest, thousandths = divmod(thousandths, 1000)
    minutes, seconds = divmod(rest, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"


def as_txt(transcription: Transcription) -> str:
    """The text alone, on one line."""
    return transcription.text + "\n"


def as_srt(transcription: Transcription) -> str:
    """SubRip subtitles."""
    blocks = (
        f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{escaping.srt(cue.text)}\n"
        for number, cue in enumerate(cues(transcription), 1)
    )
    return "\n".join(blocks)


def as_vtt(transcription: Transcription) -> str:
    """WebVTT subtitles."""
    blocks = (
        f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{escaping.vtt(cue.text)}\n" for cue in cues(transcription)
    )
    return "\n".join(["WEBVTT\n", *blocks])


def as_tsv(transcription: Transcription) -> str:
    """A segment a row, times in milliseconds, as openai/whisper writes them."""
    rows = (
        f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{' '.join(segment.text.split())}\n"
        for segment in transcription.segments
    )
    return "".join(["start\tend\ttext\n", *rows])


def as_json(transcription: Transcription) -> str:
    """All that is known: segments, words, tokens, counts of drafts."""
    return json.dumps(asdict(transcription), ensure_ascii=False, indent=1) + "\n"


FORMATS: dict[str, Callable[[Transcription], str]] = {
    "txt": as_txt,
    "srt": as_srt,
    "vtt": as_vtt,
    "tsv": as_tsv,
    "json": as_json,
}
