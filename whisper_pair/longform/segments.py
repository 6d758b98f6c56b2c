"""One window's tokens -> segments with times, and how far the next window lies.

Whisper's sequential algorithm (openai/whisper, transcribe.py; transformers, `_retrieve_segment`): two timestamps in a
row end one segment and begin the next. A window that ends in the middle of a segment is read again from where that
segment began; one that closes its last segment, or that holds no such pair, is done with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

STEP = 0.02  # seconds between timestamp tokens


@dataclass(frozen=True)
class Span:
    """A segment within its window."""

    start: int  # timestamp steps from the window's begin
    end: int
    first: int  # its tokens are tokens[first:last]
    last: int


def spans(tokens: Sequence[int], timestamps: range) -> list[tuple[int, int]]:
    """Where two timestamps stand in a row, the tokens are cut between them: (first, last) of each part."""
    pairs = [i for i in range(1, len(tokens)) if tokens[i - 1] in timestamps and tokens[i] in timestamps]
    return list(zip([0, *pairs], [*pairs, len(tokens)], strict=True))


def sequential(tokens: Sequence[int], frames: int, stride: int, timestamps: range) -> tuple[list[Span], int]:
    """Segments of a window that holds `frames` of sound, and by how many frames to go on.

    `tokens` without the end of text; `stride` frames make one timestamp step; `timestamps`: their ids.
    """
    parts = spans(tokens, timestamps)
    if len(parts) == 1:
        return [whole(tokens, frames, stride, timestamps)], frames
    found = [Span(tokens[a] - timestamps.start, tokens[b - 1] - timestamps.start, a, b) for a, b in parts]
    if closed(tokens, timestamps):
        return found, frames
    *found, _ = found  # the unfinished segment; the timestamp that opens it stays, as transformers has it
    final = found[-1]
    found[-1] = Span(final.start, final.end, final.first, final.last + 1)
    return found, final.end * stride


def chunked(tokens: Sequence[int], frames: int, stride: int, timestamps: range) -> list[Span]:
    """Segments of a window that no other window overlaps: an unfinished one lasts to the window's end."""
    parts = spans(tokens, timestamps)
    if len(parts) == 1:
        return [whole(tokens, frames, stride, timestamps)]
    found = [Span(tokens[a] - timestamps.start, tokens[b - 1] - timestamps.start, a, b) for a, b in parts]
    if not closed(tokens, timestamps):
        *found, final = found
        if final.last - final.first > 1:  # more than the timestamp that opens it
            found.append(Span(final.start, max(final.start, frames // stride), final.first, final.last))
    return found


def within(span: Span, steps: int) -> Span:
    """The span, cut off after so many timestamp steps: the main may write times at which its window has no sound, and
    speech that follows elsewhere would be skipped."""
    return replace(span, start=min(span.start, steps), end=min(span.end, steps))


def closed(tokens: Sequence[int], timestamps: range) -> bool:
    """Does the last segment end in a timestamp of its own?"""
    return len(tokens) > 1 and tokens[-2] not in timestamps and tokens[-1] in timestamps


def whole(tokens: Sequence[int], frames: int, stride: int, timestamps: range) -> Span:
    """The window as one segment, up to its last timestamp if there is one."""
    stamps = [timestamps.index(token) for token in tokens if token in timestamps]
    end = stamps[-1] if stamps and stamps[-1] > 0 else frames // stride
    return Span(0, end, 0, len(tokens))
