"""A recording on its way through the engine, window after window, and its transcription."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..audio import Sound
from ..decoding import Decoded, with_margin
from .features import InPieces, Whole, cut, quiet_end
from .segments import STEP, Span, chunked, sequential, within


@dataclass(frozen=True)
class Word:
    """A word and when it was spoken."""

    text: str  # with the space before it, where the language writes one
    start: float  # seconds from the recording's begin
    end: float


@dataclass(frozen=True)
class Segment:
    """A stretch of a transcription between two timestamps, or a window without any."""

    start: float  # seconds from the recording's begin
    end: float
    text: str
    tokens: list[int]  # timestamps included
    words: list[Word] = field(default_factory=list)  # where asked for


@dataclass(frozen=True)
class Transcription:
    """The text of one recording, and how its drafts fared."""

    text: str
    language: str | None  # given or detected; None: English-only main
    seconds: float  # of audio
    segments: list[Segment]
    rounds: int  # verifications by the main
    drafted: int  # tokens proposed by the assistant
    accepted: int  # of those, agreed with by the main
    notes: tuple[str, ...] = ()  # what was odd about the file, and how it was read nevertheless


@dataclass(frozen=True)
class Window:
    """What the engine decodes at once: up to 30 s of a recording."""

    recording: "Recording"
    first: int  # frame of the recording
    frames: int  # that hold sound
    features: Callable[[], Tensor]  # [mel, size], or less of a short window; cut only when its turn comes


@dataclass(eq=False)
class Recording:
    """How far a recording is transcribed, and what came of it so far."""

    index: int  # among the audio that was given
    features: Whole | InPieces
    seconds: float
    size: int  # frames of a window
    stride: int  # frames a timestamp step
    timestamps: range  # their token ids
    language: str | None
    chunks: bool = False  # cut at quiet places, instead of where the last segment ended
    speech: Sequence[tuple[int, int]] | None = None  # (first frame, frame after the last) of what is decoded; None: all
    margin: float | None = None  # seconds that a window goes on after its sound; None: it is a full one
    seek: int = 0  # the frame up to which it is transcribed
    segments: list[Segment] = field(default_factory=list)
    decoded: list[Decoded] = field(default_factory=list)
    sound: Sound | None = None  # the file that it is read from
    failure: Exception | None = None  # why it cannot be read any further

    @property
    def frames(self) -> int:
        """Those that hold sound."""
        return self.features.frames

    @property
    def done(self) -> bool:
        """Whether it is transcribed up to its end."""
        return self._next(self.seek)[0] >= self.frames

    def windows(self, language_is_known: bool) -> Iterator[Window]:
        """The windows that can be decoded now: the next of a sequential recording, all those left of a chunked one."""
        first, stop = self._next(self.seek)
        if not self.chunks:
            if first < self.frames:
                yield self._window(first, min(stop - first, self.size), self._after_sound)
            return
        while first < self.frames:
            end = stop if stop - first <= self.size else quiet_end(self.features, first, self.size)
            yield self._window(first, end - first, self.features.silence)
            if not language_is_known:
                return
            first, stop = self._next(end)

    def window_at(self, first: int) -> Window:
        """The window that begins at a frame, whatever has been decoded."""
        return self._window(first, min(self.frames - first, self.size), self.features.silence)

    def _next(self, first: int) -> tuple[int, int]:
        """The next stretch to decode from frame `first` on, and the frame after it."""
        if self.speech is None:
            return first, self.frames
        rest = ((max(first, begin), end) for begin, end in self.speech if end > first)
        return next(rest, (self.frames, self.frames))

    @property
    def _after_sound(self) -> float:
        """What follows the sound in a sequential recording's window: zeros, as in transformers, where it decodes the
        same window; otherwise silence, as in training."""
        return 0.0 if self.margin is None and self.speech is None else self.features.silence

    def _window(self, first: int, frames: int, fill: float) -> Window:
        whole = self.frames <= self.size and first + frames >= self.frames  # it brings the silence after it along
        held = self.size if whole else frames

        def features() -> Tensor:
            window = cut(self.features.stretch(first, first + held), 0, held, self.size, fill)
            return with_margin(window, frames, self.margin)

        return Window(self, first, frames, features)

    def take(self, window: Window, decoded: Decoded, end: int) -> list[Span]:
        """Takes the result of a window; moves on, and returns where its segments stand in the window's tokens."""
        self.decoded.append(decoded)
        self.language = self.language or decoded.language
        tokens = without_end(decoded.tokens, end)
        if self.chunks:
            found, onward = chunked(tokens, window.frames, self.stride, self.timestamps), window.frames
        else:
            found, onward = sequential(tokens, window.frames, self.stride, self.timestamps)
        if self.margin is not None or self.speech is not None:  # else as transformers does it
            found, onward = [within(span, window.frames // self.stride) for span in found], min(onward, window.frames)
        if decoded.silent:
            found, onward = [], window.frames
        self.seek = window.first + onward
        return found

    def add(self, window: Window, spans: list[Span], tokens: list[int], text, words: list[list[Word]]) -> None:
        """Segments of a window, on the recording's clock; `text` makes tokens readable."""
        offset = window.first * STEP / self.stride
        for span, its_words in zip(spans, words, strict=True):
            own = tokens[span.first : span.last]
            start, end = offset + span.start * STEP, offset + span.end * STEP
            self.segments.append(Segment(round(start, 3), round(end, 3), text(own), own, its_words))

    def transcription(self) -> Transcription:
        """The whole result, once it is done."""
        return Transcription(
            text="".join(segment.text for segment in self.segments).strip(),
            language=self.language,
            seconds=self.seconds,
            segments=self.segments,
            rounds=sum(decoded.rounds for decoded in self.decoded),
            drafted=sum(decoded.drafted for decoded in self.decoded),
            accepted=sum(decoded.accepted for decoded in self.decoded),
            notes=tuple(self.sound.notes.sentences()) if self.sound else (),
        )


def without_end(tokens: list[int], end: int) -> list[int]:
    """Tokens without the end of text."""
    return tokens[:-1] if tokens and tokens[-1] == end else tokens
