"""The audio of any file: mono, at 16 kHz, in order or from any position, in memory that does not grow with its length.

A file may be several that were joined (see joined.py), and a stream may change its rate and channels: each stretch is
mixed and resampled by itself, in order. Its length is what was decoded. To read a piece, the reader seeks to a packet
a second before it, since codecs and the resampler need what precedes.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import InputError
from .channels import Mixer
from .decoder import Chunk, Decoder
from .joined import grows, parts
from .media import Slice, view
from .notes import Notes

SAMPLE_RATE = 16_000
BLOCK = 5  # seconds that are mixed at once: the most that is decoded past the end of a piece
MONO_BLOCK = 1  # the same for one channel, where nothing is mixed
BEFORE = 1.0  # seconds that are decoded before a piece
AHEAD = 20 * SAMPLE_RATE  # samples up to which decoding on is cheaper than seeking
PADDING = 0.1  # seconds by which a last packet may go past the end that its container states
MISSED = 0.1  # seconds that may be missing without notice; of a WAV, whose bytes are counted, a fifth of that
BELIEVED = 1000  # times the length of what is there, from which on a stated length is ignored

Source = str | Path | bytes | Slice


class Sound:
    """One audio track of a file. Raises InputError where it cannot be read; `notes` holds what was odd about it."""

    def __init__(self, source: Source, name: str | None = None, track: int = 1):
        self.name = name or ("audio bytes" if isinstance(source, bytes) else str(source))
        self.notes = Notes(track=track)
        self._track = track
        self._parts = parts(view(source, self.name), self.name)
        self._decoder: Decoder | None = None
        self._grows: bool | None = None
        self._stream: Iterator[np.ndarray] | None = None
        self._kept, self._first = np.zeros(0, np.float32), 0  # the latest samples, and the number of the first

    def close(self) -> None:
        """Closes the file."""
        self._stream = None
        if self._decoder is not None:
            self._decoder.close()
        self._parts[0].view.close_file()

    def __enter__(self) -> "Sound":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # In order

    def blocks(self) -> Iterator[np.ndarray]:
        """All of it at 16 kHz: float32 [samples] each."""
        return _at_16_khz(self.native())

    def native(self) -> Iterator[tuple[np.ndarray, int]]:
        """All of it at its own rates: mono float32 [frames], and their rate."""
        return _mono(self._chunks(), self.notes)

    def channels(self) -> int:
        """How many there are at its beginning."""
        first = next(self._chunks(), None)
        return 0 if first is None else first.samples.shape[1]

    def packet_seconds(self) -> float:
        """Its length by its packets' times, which costs no decoding."""
        total = 0.0
        for number, part in enumerate(self._parts):
            decoder = Decoder(part, self.name, self._track, Notes(), number == 0)
            total += decoder.packet_seconds()
            decoder.close()
        return total

    def _chunks(self) -> Iterator[Chunk]:
        self.notes.damaged = 0
        for number, part in enumerate(self._parts):
            self._decoder = Decoder(part, self.name, self._track, self.notes, number == 0)
            yield from _without_padding(self._decoder, self._decoder.chunks())
            self._look_back(self._decoder)
            self._decoder.close()

    def _look_back(self, decoder: Decoder) -> None:
        """Notes what its header states and was not there."""
        part, stated, notes = decoder.part, decoder.stated, self.notes
        notes.cut = notes.cut or part.cut
        missing, least = (part.missing, MISSED / 5) if part.missing else (0.0, MISSED)
        if stated is not None and decoder.end > 0 and stated < BELIEVED * decoder.end and len(self._parts) == 1:
            missing = max(missing, stated - decoder.end)
        if missing > least:
            notes.missing += missing

    # From any position

    def read(self, first: int, count: int | None = None) -> np.ndarray:
        """Samples at 16 kHz from number `first`, `count` of them (None: all), or fewer where the sound ends.

        Reading on is cheap, and so is reading again what was read last; going back is a search in the file.
        """
        at = self._first + len(self._kept)  # the stream's position
        stream = self._stream
        if stream is None or first < self._first or first > at + AHEAD:
            at, stream = self._restart(first)
        held = [self._kept[max(0, first - self._first) :]]
        end = math.inf if count is None else first + count
        while at < end and (block := next(stream, None)) is not None:
            held.append(block[max(0, first - at) :])
            at += len(block)
        self._kept = np.concatenate(held) if len(held) > 1 else held[0]
        self._first = at - len(self._kept)
        return self._kept if count is None else self._kept[:count]

    def _restart(self, first: int) -> tuple[int, Iterator[np.ndarray]]:
        """A new stream that holds sample number `first`, and the number of its first sample."""
        self._kept = np.zeros(0, np.float32)
        self._first, self._stream = (self._from(first) if first > AHEAD else None) or (0, self.blocks())
        return self._first, self._stream

    def _can_seek(self) -> bool:
        if self._grows is None:
            self._grows = grows(self._parts[0])
        return self._grows

    def _from(self, first: int) -> tuple[int, Iterator[np.ndarray]] | None:
        """(number of the first sample, the stream from there), or None where the file must be read from its start."""
        if len(self._parts) > 1 or not self._can_seek():
            return None
        seconds = first / SAMPLE_RATE - BEFORE
        if self._decoder is None or self._decoder.closed:
            self._decoder = Decoder(self._parts[0], self.name, self._track, self.notes)
        if not self._decoder.seekable or not seconds < (self._decoder.seconds or 0):
            return None
        chunks = _without_padding(self._decoder, self._decoder.chunks(seconds))
        try:
            chunk = next(chunks, None)
        except InputError:
            return None
        if chunk is None or not 0 <= chunk.at <= first / SAMPLE_RATE:
            return None
        # the next time at which a sample of the file and one at 16 kHz coincide
        step = chunk.rate // math.gcd(chunk.rate, SAMPLE_RATE)
        lands = round(chunk.at * chunk.rate)
        begin = -(-lands // step) * step
        at = begin * SAMPLE_RATE // chunk.rate
        if at > first:
            return None
        return at, _at_16_khz(_mono(_cut(chunk, chunks, begin - lands), self.notes))


def total_seconds(frames: dict[int, int]) -> float:
    """Seconds of frames, counted by their rate: fractions of seconds would not add up exactly."""
    return sum(count / rate for rate, count in frames.items())


def _cut(first: Chunk, rest: Iterator[Chunk], frames: int) -> Iterator[Chunk]:
    """The chunks without so many frames at the start."""
    yield Chunk(first.samples[frames:], first.rate, first.at)
    skipped = max(0, frames - len(first.samples))
    for chunk in rest:
        yield Chunk(chunk.samples[skipped:], chunk.rate, chunk.at) if skipped else chunk
        skipped = max(0, skipped - len(chunk.samples))


def _without_padding(decoder: Decoder, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The chunks without what a codec's last packet holds past the end of the sound."""
    before = None
    for chunk in chunks:
        if before is not None:
            yield before
        before = chunk
    if before is not None:
        end = decoder.seconds if decoder.pads else None
        over = before.at + len(before.samples) / before.rate - end if end else 0.0
        frames = round(over * before.rate) if 0 < over <= PADDING else 0
        yield Chunk(before.samples[: max(0, len(before.samples) - frames)], before.rate, before.at)


def _mono(chunks: Iterator[Chunk], notes: Notes) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks of some seconds of one rate and number of channels, mixed."""
    mixer = Mixer()
    notes.channels = mixer.found
    held: list[np.ndarray] = []
    rate = channels = frames = 0
    for chunk in chunks:
        block = (BLOCK if chunk.samples.shape[1] > 1 else MONO_BLOCK) * chunk.rate
        if held and ((rate, channels) != (chunk.rate, chunk.samples.shape[1]) or frames >= block):
            yield mixer(np.concatenate(held), rate), rate
            held, frames = [], 0
        rate, channels = chunk.rate, chunk.samples.shape[1]
        held.append(chunk.samples)
        frames += len(chunk.samples)
    if frames:
        yield mixer(np.concatenate(held), rate), rate


def _at_16_khz(blocks: Iterator[tuple[np.ndarray, int]]) -> Iterator[np.ndarray]:
    import soxr

    stream, before = None, 0
    for block, rate in blocks:
        if rate != before:
            if stream is not None:
                yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
            stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", "HQ")
            before = rate
        yield np.ascontiguousarray(block) if stream is None else stream.resample_chunk(np.ascontiguousarray(block))
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
