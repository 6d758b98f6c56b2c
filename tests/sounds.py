"""Small sound files in many containers, as their users' programs write them."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile

RATE = 16_000
CODINGS = {  # by ending: container, codec, its rate
    "wav": ("wav", "pcm_s16le", RATE),
    "flac": ("flac", "flac", RATE),
    "mp3": ("mp3", "libmp3lame", RATE),
    "m4a": ("ipod", "aac", RATE),
    "aac": ("adts", "aac", RATE),
    "mka": ("matroska", "aac", RATE),
    "webm": ("webm", "libopus", 48_000),
    "opus": ("ogg", "libopus", 48_000),
    "ts": ("mpegts", "aac", RATE),
    "aiff": ("aiff", "pcm_s16be", RATE),
    "avi": ("avi", "libmp3lame", RATE),
}


def melody(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """float32 [samples]: a sound that is nowhere alike, so that what was read tells where it stood."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.01, len(t))
    return (0.3 * np.sin(2 * np.pi * (300 + 40 * t) * t) + noise).astype(np.float32)


def encode(
    samples: np.ndarray, ending: str, rate: int | None = None, late: float = 0.0,
    hole: tuple[float, float] | None = None, picture: bool = False, tracks: tuple[np.ndarray, ...] = (),
) -> bytes:  # fmt: skip
    """`samples` [frames] or [channels, frames]; `late`: seconds into the container; `hole`: (where, how long)."""
    form, codec, usual = CODINGS[ending]
    rate, out = rate or usual, io.BytesIO()
    with av.open(out, "w", format=form) as container:
        streams = [(container.add_stream(codec, rate=rate, layout=_layout(one)), one) for one in (samples, *tracks)]
        packets = []
        if picture:
            film = container.add_stream("mpeg4", rate=5)
            film.width = film.height = 64
            film.pix_fmt = "yuv420p"
            blank = np.zeros((64, 64, 3), np.uint8)
            length = max(one.shape[-1] for _, one in streams) / rate + late + (hole[1] if hole else 0)
            for number in range(int(5 * length) + 1):
                frame = av.VideoFrame.from_ndarray(blank, format="rgb24")
                frame.pts = number
                packets += film.encode(frame)
            packets += film.encode(None)
        for stream, sound in streams:
            for frame in _frames(sound, stream, rate, late, hole):
                packets += stream.encode(frame)
            packets += stream.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return out.getvalue()


def _layout(samples: np.ndarray) -> str:
    return "stereo" if samples.ndim == 2 else "mono"


def _frames(samples: np.ndarray, stream, rate: int, late: float, hole: tuple[float, float] | None):
    samples = samples if samples.ndim == 2 else samples[None]
    to = av.AudioResampler(format=stream.format.name, layout=stream.layout.name, rate=rate)
    size = stream.frame_size or 1024
    for at in range(0, samples.shape[1], size):
        part = np.ascontiguousarray(samples[:, at : at + size])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=stream.layout.name)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        after = hole[1] if hole and at >= hole[0] * rate else 0.0
        frame.pts = at + round((late + after) * rate)
        yield from to.resample(frame)


def written(samples: np.ndarray, form: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    """By libsndfile; `samples` [frames] or [frames, channels]."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def where(found: np.ndarray, sought: np.ndarray) -> float:
    """At how many seconds of `found` a stretch of `sought` stands, by correlation."""
    size = 1 << (len(found) + len(sought)).bit_length()
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(sought, size))
    return int(np.fft.irfft(spectrum, size)[: len(found)].argmax()) / RATE
