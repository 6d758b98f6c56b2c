"""One audio track of a container, packet by packet, on the container's clock.

Packets carry times: sound that starts late or has holes is filled with silence, so that times stay right against the
picture. A packet that cannot be decoded becomes silence of its length. Impossible times (they go back, or past the
container's end) are ignored, and the sound is read as it comes.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .channels import whole_numbers
from .joined import Part
from .media import container
from .notes import Notes

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler, Packet
    from av.audio.stream import AudioStream

TOLERANCE = 0.1  # seconds by which times may be off before they count
SMALL, DRIFT = 0.5, 0.05  # seconds back that are no restart; the share by which two clocks may drift apart
USUAL_GAP = 0.02  # seconds between most packets, from which on their times are wrong
START = 0.005  # seconds by which the first sound may be late without silence before it
LONGEST_PACKET = 10.0  # seconds that a packet without sound may claim to last
RATES = (1_000, 1_000_000)  # Hz: below, a few bytes would be hours
NO_SEEKING = ("mpegts", "mpeg")  # formats whose times may restart
STATES_ITS_LENGTH = ("flac", "mov", "aiff", "caf", "w64", "au")  # in a header that can be trusted
PADS_ITS_END = ("mov", "ogg")  # FFmpeg includes the encoder's padding in the last packet
MP3_TAGS = 256  # bytes beside the frames that an MP3's first frame counts
LOST_PATIENCE = 200  # errors of the container after which it has ended
BARE = ("aac", "loas", "mp3", "ac3", "eac3", "dts", "amr")  # no container around the packets
NO_CLOCK = ("avi", "wav", "aiff", "au", "w64", "caf")  # positions in the file serve as times
STARTS_AT_ZERO = ("matroska", "mov")  # formats whose clock is the video's; elsewhere it starts with the first packet


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive frames of one rate and number of channels."""

    samples: np.ndarray  # float32 [frames, channels]
    rate: int
    at: float  # seconds on the clock


class Decoder:
    """Decodes a track of one part of a file. Raises InputError where there is no such track, or it cannot be decoded.

    `end`: seconds on the clock up to which it was decoded.
    """

    def __init__(self, part: Part, name: str, track: int, notes: Notes, first: bool = True) -> None:
        """`track`: counted from 1; `notes` receives what was odd; `first`: whether it is the first part of its file."""
        self.part, self.name, self.notes, self.number = part, name, notes, track
        self._open()
        self.format = self.container.format.name
        self.end = 0.0
        self.closed = False
        self._zero = self._first_time() if first else None  # seconds; None: the time of the first frame
        self._plausible: bool | None = None  # whether the packets' times can be followed
        self._filled = 0.0
        self._scale = 1  # of integers that are stored as floats
        self._rate = self.stream.rate
        self._late = 0.0  # seconds by which the sound outgrew the times, little by little
        self._step = 0.0  # seconds by which impossible times were corrected

    def _open(self) -> None:
        self.part.view.seek(0)
        self.part.view.fresh()
        self.container = container(self.part.view, self.name)
        tracks = self.container.streams.audio
        self.notes.tracks = max(self.notes.tracks, len(tracks))
        if not tracks:
            raise InputError(f"{self.name}: holds no audio stream.")
        if self.number > len(tracks):
            raise InputError(f"{self.name}: has {len(tracks)} audio tracks, and no track {self.number}.")
        self.stream = tracks[self.number - 1]
        if self.stream.codec_context is None:
            raise InputError(f"{self.name}: cannot be decoded as audio: its coding is unknown.")
        if self.stream.codec_context.name == "flac":
            self.stream.codec_context.options = {"err_detect": "crccheck"}

    def close(self) -> None:
        """Closes the container; the file stays open."""
        self.closed = True
        self.container.close()

    def _is(self, names: tuple[str, ...]) -> bool:
        return any(name in names for name in self.format.split(","))

    @property
    def seekable(self) -> bool:
        """Whether a position can be found by its time."""
        return not self._is(NO_SEEKING)

    @property
    def pads(self) -> bool:
        """Whether the last packet may hold more than the sound."""
        return self._is(PADS_ITS_END)

    @property
    def stated(self) -> float | None:
        """Seconds that a header states; None where FFmpeg's figure is a guess, or the video's."""
        sound_alone = not self.container.streams.video
        states = self._is(STATES_ITS_LENGTH) or (self._is(("matroska",)) and sound_alone)
        return self.seconds if states or (self._is(("mp3",)) and self._xing_bytes is not None) else None

    @cached_property
    def _xing_bytes(self) -> int | None:
        """The bytes of an MP3 by its first frame; 0 where that states none, None where there is no such frame."""
        place, view = self.part.view.tell(), self.part.view
        view.seek(0)
        head = view.read(10)
        start = 0
        if head[:3] == b"ID3":
            start = 10 + sum((byte & 0x7F) << 7 * (3 - i) for i, byte in enumerate(head[6:10]))
        view.seek(start)
        head = view.read(1024)
        view.seek(place)
        at = max(head.find(b"Xing"), head.find(b"Info"))
        if at < 0:
            return None
        fields = head[at + 7] & 3
        return int.from_bytes(head[at + 12 : at + 16], "big") if fields == 3 else 0

    @property
    def seconds(self) -> float | None:
        """Where the track ends on the clock, by its container, which may be wrong."""
        if self.part.seconds is not None:
            return self.part.seconds
        start, duration, base = self.container.start_time or 0, self.stream.duration, self.stream.time_base
        if duration is not None and base is not None:
            end = float(((self.stream.start_time or 0) + duration) * base)
        elif self.container.duration is not None:
            end = (self.container.duration + (0 if self._from_zero() else start)) / 1e6
        else:
            return None
        return end - (start / 1e6 if self._zero is None else self._first_time())

    def _first_time(self) -> float:
        """Where the clock begins, in the container's seconds."""
        return 0.0 if self._from_zero() else (self.container.start_time or 0) / 1e6

    def _from_zero(self) -> bool:
        return self._is(STARTS_AT_ZERO)

    def chunks(self, begin: float = 0.0) -> Iterator[Chunk]:
        """From the start, or from a packet before `begin` seconds; a decoder gives one such stream at a time."""
        clock: float | None = 0.0
        if begin:
            self._go_to(begin)
            clock = None
        shape: tuple[int, int] | None = None
        for frame, seconds, end in self._frames():
            if frame is None:  # a packet that could not be decoded
                if shape is not None and clock is not None:
                    seconds = seconds if end is None else max(0.0, min(seconds, end - clock))
                    self.notes.lost += seconds
                    chunk = _silence(seconds, shape, clock)
                    clock += len(chunk.samples) / chunk.rate
                    yield chunk
                continue
            samples = self._samples(frame)
            at = self._time(frame) if clock is None or self._keeps_time(frame) else None
            if clock is None:
                clock = begin if at is None else at
                if at is None:
                    raise InputError(f"{self.name}: packets have no times.")
            hole = self._hole(clock, at, START if shape is None and self._from_zero() else TOLERANCE)
            shape = (frame.sample_rate, samples.shape[1])
            if hole:
                chunk = _silence(hole, shape, clock)
                clock += len(chunk.samples) / chunk.rate
                yield chunk
            if len(samples):
                yield Chunk(samples, frame.sample_rate, clock)
                clock += len(samples) / frame.sample_rate
                self.end = clock

    def _frames(self) -> Iterator[tuple["AudioFrame | None", float, float | None]]:
        """Frames; for a damaged packet (None, its seconds, and where it ends on the clock, if that is known)."""
        import av

        good = usual = 0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except InputError:
                raise
            except (av.FFmpegError, ValueError, OverflowError, MemoryError):
                seconds = self._lasts(packet, usual)
                self.notes.damaged += 1
                end = None if packet.pts is None or self._zero is None else self._on_clock(packet) + seconds
                yield None, seconds, end
                continue
            usual = packet.size if frames else usual
            for frame in frames:
                good += 1
                yield frame, 0.0, None
        if not good and self.notes.damaged:
            raise InputError(f"{self.name}: cannot be decoded as audio: {self.notes.damaged} packets are damaged.")

    def _packets(self) -> Iterator["Packet[AudioStream]"]:
        """The track's packets. After an error of the container the next one is tried, LOST_PATIENCE times."""
        import av

        size = errors = 0
        packets = self.container.demux(self.stream)
        while errors < LOST_PATIENCE:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except InputError:
                raise
            except (av.FFmpegError, OSError, ValueError, MemoryError):
                errors += 1
                self.notes.damaged += 1
                packets = self.container.demux(self.stream)
                continue
            size += max(1, packet.size)  # one of no bytes is none of an end either
            if size > 4 * self.part.view.size + 2**20:
                raise InputError(f"{self.name}: the file has no end: it gives the same sound again and again.")
            yield packet

    def _lasts(self, packet: "Packet[AudioStream]", usual: float) -> float:
        """Seconds of a packet that cannot be decoded. In an MP3 a damaged stretch of many frames comes as one packet,
        whose bytes give their number, if the file has its full size."""
        if not packet.duration or packet.time_base is None:
            return 0.0
        seconds = float(packet.duration * packet.time_base)
        if self.format == "mp3" and usual and packet.size < self._xing_bytes_are_there():
            more = seconds * max(0.0, packet.size / usual - 1)
            seconds += more
            self._step += more if seconds <= LONGEST_PACKET else 0.0
        return seconds if 0 < seconds <= LONGEST_PACKET else 0.0

    def _xing_bytes_are_there(self) -> int:
        stated = self._xing_bytes or 0
        return stated if self.part.view.size <= stated + MP3_TAGS else 0

    def _samples(self, frame: "AudioFrame") -> np.ndarray:
        """float32 [frames, channels]"""
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        if not RATES[0] <= rate <= RATES[1]:
            raise InputError(
                f"{self.name}: its header states {rate} samples a second; expected {RATES[0]} to {RATES[1]}."
            )
        if frame.format.name.startswith("s64"):  # numpy gets none of these
            (frame,) = self._to_floats.resample(frame)
        found = frame.to_ndarray()
        found = found.T if frame.format.is_planar else found.reshape(-1, channels)
        if found.dtype == np.uint8:
            return (found.astype(np.float32) - 128) / 128
        if found.dtype.kind == "i":
            return found.astype(np.float32) / np.float32(2 ** (8 * found.dtype.itemsize - 1))
        samples = found.astype(np.float32)
        self._scale = max(self._scale, whole_numbers(samples))
        if self._scale > 1:
            self.notes.integers = True
            return samples / np.float32(self._scale)
        if not np.isfinite(samples).all():
            if self.stream.codec_context.name.startswith("pcm_"):
                raise InputError(f"{self.name}: the audio holds NaN or infinite samples.")
            self.notes.damaged += 1  # of a lossy codec it can only be damage
            return np.zeros_like(samples)
        return samples

    @cached_property
    def _to_floats(self) -> "AudioResampler":
        import av

        return av.AudioResampler(format="dblp")

    def _time(self, frame: "AudioFrame") -> float | None:
        """The frame's own time on the clock; None where it has none."""
        if frame.pts is None or frame.time_base is None:
            return None
        if self._zero is None:
            self._zero = float(frame.pts * frame.time_base)
        return self._on_clock(frame)

    def _on_clock(self, stamped: "AudioFrame | Packet[AudioStream]") -> float:
        """The time of a frame or packet that has one."""
        assert stamped.pts is not None
        assert stamped.time_base is not None
        return float(stamped.pts * stamped.time_base) - (self._zero or 0.0) + self._step

    def _keeps_time(self, frame: "AudioFrame") -> bool:
        """Where there is no clock, FFmpeg counts by the rate that the stream began with."""
        return not self._is(NO_CLOCK) and (not self._is(BARE) or frame.sample_rate == self._rate)

    def _hole(self, clock: float, at: float | None, tolerance: float) -> float:
        """Seconds of silence before a frame."""
        if at is None or clock - TOLERANCE <= at <= clock + tolerance:
            return 0.0
        gap = at - clock
        if gap > 0 and self._follows(at, gap):
            self._filled += gap
            self.notes.holes += gap if gap > TOLERANCE else 0.0
            return gap
        self._step -= gap
        self.notes.impossible_times = True
        if -SMALL < gap < 0:
            self._late += -gap
            if self._late > max(4 * TOLERANCE, DRIFT * clock):
                raise InputError(f"{self.name}: its times do not fit its sample rate; the file is damaged.")
        return 0.0

    def _follows(self, at: float, gap: float) -> bool:
        end = self.seconds
        if (end is not None and at > end + 1.0) or self._filled + gap > 30 + self.part.view.size / 64:
            return False
        if self._plausible is None:
            self._plausible = self._times_go_on()
        return self._plausible

    def packet_seconds(self) -> float:
        """The track's length by its packets' own lengths or times, whichever is longer."""
        total, last = 0.0, 0.0
        for packet in self._packets():
            if packet.duration and packet.time_base is not None:
                total += float(packet.duration * packet.time_base)
            if packet.pts is not None and packet.time_base is not None:
                at = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._first_time()
                last = max(last, at)
        end = self.seconds
        return max(total, last) if end is None or last <= end + 1.0 else total

    def _times_go_on(self) -> bool:
        """Whether packets' times never go back, and most packets follow each other directly. Reads the file once more,
        without decoding."""
        place, begins, lasts = self.part.view.tell(), array("d"), array("d")
        other = Decoder(Part(self.part.view, self.part.seconds), self.name, self.number, Notes())
        try:
            for packet in other._packets():
                if packet.pts is not None and packet.time_base is not None:
                    begins.append(float(packet.pts * packet.time_base))
                    lasts.append(float((packet.duration or 0) * packet.time_base))
        finally:
            other.close()
            self.part.view.seek(place)
        steps = np.diff(begins)
        usual = np.median(steps - np.asarray(lasts)[:-1]) if len(steps) else 0.0
        return bool((steps > -TOLERANCE).all() and usual < USUAL_GAP)

    def _go_to(self, seconds: float) -> None:
        """Seeks to a packet before `seconds`. Raises InputError where the container cannot seek."""
        import av

        base = self.stream.time_base
        if base is None:
            raise InputError(f"{self.name}: cannot seek, for its packets have no times.")
        if not self._from_zero() and not self.end:  # the first packet's time, which counts as 0 in reading in order
            frame = next((frame for frame, *_ in self._frames() if frame is not None), None)
            at = None if frame is None else self._time(frame)
            self._step -= at if at is not None and abs(at) <= TOLERANCE else 0.0
            self.end = 0.0 if frame is None else frame.samples / frame.sample_rate
        self.part.view.fresh()
        try:
            self.container.seek(int((seconds + self._first_time()) / base), stream=self.stream, backward=True)
        except (av.FFmpegError, OSError, ValueError, OverflowError) as error:
            raise InputError(f"{self.name}: cannot seek.") from error


def _silence(seconds: float, shape: tuple[int, int], at: float) -> Chunk:
    rate, channels = shape
    return Chunk(np.zeros((round(seconds * rate), channels), np.float32), rate, at)
