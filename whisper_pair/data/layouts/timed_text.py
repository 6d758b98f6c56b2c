"""Files that say when a text is spoken: subtitles, .stm, TextGrid and Audacity's labels.

SubRip and WebVTT are read by webvtt-py, TextGrid by praatio, each loaded when it is needed.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from .described import lines_of

ENDINGS = (".srt", ".vtt", ".stm", ".textgrid")
LONGEST = 1 << 26  # bytes of such a file
LABEL = re.compile(r"(-?\d+(?:[.,]\d+)?)\t(-?\d+(?:[.,]\d+)?)(?:\t(.*))?")  # Audacity's
MARKUP = re.compile(r"</?[a-zA-Z][^>]*>|\{\\[^}]*\}")
SOUND = re.compile(r"[\s♪♫#*-]*(?:[\[(\uff08][^\])\uff09]*[\])\uff09][\s♪♫#*-]*)*")  # [music], (laughs), a note


@dataclass(frozen=True, slots=True)
class Timed:
    """A text and when it is spoken."""

    text: str
    begin: float  # seconds
    end: float  # seconds
    place: str  # the file and line, or the number in the file
    speaker: str | None = None
    recording: str | None = None  # where the file names it


def is_audacity(path: Path) -> bool:
    """Whether a .txt file has a begin and an end in seconds on each line."""
    lines = [line for _, line in lines_of(path) if not line.startswith("\\")]  # of frequencies
    return bool(lines) and all(LABEL.fullmatch(line) for line in lines)


def read(path: Path, tier: str | None) -> list[Timed]:
    """The texts of a file with their times, in its order; those of sounds alone ([music]) are left out.

    `tier`: of a TextGrid; None: its only one. Raises InputError for a file that cannot be read.
    """
    if path.stat().st_size > LONGEST:
        raise InputError(f"{path}: has more than {LONGEST / 1e6:.0f} MB, which is no transcript.")
    match path.suffix.lower():
        case ".srt" | ".vtt":
            found = _subtitles(path)
        case ".stm":
            found = _stm(path)
        case ".textgrid":
            found = _textgrid(path, tier)
        case _:
            found = _audacity(path)
    return [timed for timed in found if not SOUND.fullmatch(timed.text)]


def _subtitles(path: Path) -> Iterator[Timed]:
    import webvtt
    from webvtt.errors import MalformedCaptionError, MalformedFileError

    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape").lstrip()
    try:
        cues = webvtt.from_buffer(io.StringIO(text), format=path.suffix[1:].lower()).captions
    except (MalformedFileError, MalformedCaptionError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as {path.suffix[1:].lower()} ({error}).") from error
    if not cues and text:
        raise InputError(f"{path}: cannot be read as {path.suffix[1:].lower()} (it holds no subtitle).")
    for number, cue in enumerate(cues, 1):
        words = " ".join(MARKUP.sub("", cue.text).split())
        begin, end = (time.in_milliseconds() / 1000 for time in (cue.start_time, cue.end_time))
        yield Timed(words, begin, end, f"{path.name}, subtitle {number}", getattr(cue, "voice", None) or None)


def _stm(path: Path) -> Iterator[Timed]:
    """NIST's segment time marks: recording, channel, speaker, begin, end, [<labels>], text."""
    for place, line in lines_of(path):
        if line.startswith(";;"):
            continue
        fields = line.split(maxsplit=5)
        if len(fields) < 5:
            raise InputError(f"{path.parent}: {place}: expected recording, channel, speaker, begin, end and a text.")
        recording, _, speaker, begin, end, *rest = fields
        text = re.sub(r"^<[^>]*>\s*", "", rest[0]) if rest else ""
        if text.strip().lower() != "ignore_time_segment_in_scoring":
            times = _seconds(begin, path, place), _seconds(end, path, place)
            yield Timed(" ".join(text.split()), *times, place, speaker, recording)


def _audacity(path: Path) -> Iterator[Timed]:
    for place, line in lines_of(path):
        match = LABEL.fullmatch(line)
        if match:
            times = _seconds(match[1], path, place), _seconds(match[2], path, place)
            yield Timed(" ".join((match[3] or "").split()), *times, place)


def _textgrid(path: Path, wanted: str | None) -> Iterator[Timed]:
    from praatio import textgrid
    from praatio.data_classes.interval_tier import IntervalTier

    try:
        grid = textgrid.openTextgrid(str(path), False, reportingMode="silence", duplicateNamesMode="rename")
    except Exception as error:  # praatio raises many kinds for a file that is no TextGrid
        raise InputError(f"{path}: cannot be read as TextGrid ({' '.join(str(error).split())[:200]}).") from error
    tiers = {tier.name: tier for tier in grid.tiers if isinstance(tier, IntervalTier)}
    if wanted is not None and wanted not in tiers:
        raise InputError(f"{path}: there is no tier {wanted!r}; it has {', '.join(tiers) or 'none with intervals'}.")
    if wanted is None and len(tiers) != 1:
        raise InputError(f"{path}: has {len(tiers)} tiers ({', '.join(tiers)}); name one in the source's text.")
    name = wanted or next(iter(tiers))
    for number, interval in enumerate(tiers[name].entries, 1):
        words = " ".join(interval.label.split())
        yield Timed(words, float(interval.start), float(interval.end), f"{path.name}, {name} {number}")


def _seconds(text: str, path: Path, place: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError as error:
        raise InputError(f"{path.parent}: {place}: {text!r} is not a number of seconds.") from error
