"""Special tokens in human texts: some tools leave <|endoftext|> behind, and write times as <|0.00|>.

A human text holds no control token. The marks below are taken out, refused, or, with data.special_tokens: times, read
as the times of a clip's segments: <|0.00|> one <|1.20|><|1.20|> two <|2.50|>.
"""

import re
from dataclasses import dataclass

# Whisper's own, whichever checkpoint reads them; a word of another form that was added to a vocabulary stays a word
NAMES = "endoftext|startof(?:transcript|prev|lm)|transcribe|translate|nospeech|nocaptions|notimestamps|[a-z]{2,3}"
SECONDS = r"\d{1,5}\.\d{1,3}"
MARK = re.compile(rf"<\|(?:{NAMES}|{SECONDS})\|>")
WITHIN_MARK = re.compile(rf"(?<=<)(?=\|(?:{NAMES}|{SECONDS})\|>)")  # after its first character

Times = tuple[tuple[float, float, str], ...]  # begin and end in seconds into the clip, and the text between them


@dataclass(frozen=True, slots=True)
class Transcript:
    """A human text, and the special tokens that stood in it."""

    text: str
    marks: tuple[str, ...]  # the special tokens that were taken out
    times: Times | None  # None: the times in the text are out of order


def transcript(text: str) -> Transcript:
    """A text without its special tokens."""
    marks = MARK.findall(text)
    if not marks:
        return Transcript(text, (), ())
    return Transcript(_bare(text), tuple(marks), _times(text))


def _times(text: str) -> Times | None:
    before, *parts = re.split(rf"<\|({SECONDS})\|>", text)  # a time, what follows it, a time, ...
    if not parts:
        return ()
    times, texts = [float(part) for part in parts[::2]], [_bare(part) for part in parts[1::2]]
    between = [_bare(before), *texts[1::2]]  # outside the segments
    if len(times) % 2 or any(between) or times != sorted(times):
        return None
    return tuple((a, b, words) for a, b, words in zip(times[::2], times[1::2], texts[::2], strict=True) if words)


def _bare(text: str) -> str:
    """A space stands for each, so that the rest joins to no other: <|no<|nl|>speech|>."""
    return " ".join(MARK.sub(" ", text).split())
