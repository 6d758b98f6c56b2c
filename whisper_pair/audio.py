"""Sound in: any file, rate and channel count -> 16 kHz mono float32 -> Whisper's log-mel spectrogram.

Files are read by libsndfile (soundfile) and, where it cannot, by PyAV; no FFmpeg program is needed. The spectrogram is
computed in torch on whichever device the model is on, and equals transformers' WhisperFeatureExtractor.
"""

import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .errors import InputError

SAMPLE_RATE = 16_000
OGG_PAGE = 65_307  # bytes, the longest


def read_audio(
    source: str | Path | bytes, name: str | None = None, start: float = 0.0, seconds: float | None = None
) -> np.ndarray:
    """Float32 samples in [-1, 1], mono, 16 kHz: [samples].

    `source` is a path or a file's bytes; `name` stands in messages; `start` and `seconds` choose a part of it. Raises
    InputError if it cannot be decoded, is empty, or holds NaN.
    """
    name = _check_source(source, name)
    samples, rate = _decode(source, name, start, seconds)
    if samples.size == 0:
        raise InputError(f"{name}: the audio is empty.")
    mono = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise InputError(f"{name}: the audio holds NaN or infinite samples.")
    if rate != SAMPLE_RATE:
        import soxr

        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def audio_seconds(source: str | Path | bytes, name: str | None = None) -> float:
    """Length in seconds, from the file's header where it tells, else by decoding."""
    import soundfile

    try:
        info = soundfile.info(_openable(source))
    except (soundfile.SoundFileError, RuntimeError, OSError):
        frames, rate = 0, SAMPLE_RATE
        for block, rate in _av_blocks(source, _check_source(source, name)):  # noqa: B007 (the last rate is used below)
            frames += len(block)
        return frames / rate
    return info.frames / info.samplerate


def audio_blocks(source: str | Path | bytes, name: str | None = None) -> Iterator[tuple[np.ndarray, int]]:
    """All of it in blocks of at most ten seconds, so that hours of it fit: samples [frames, channels] and their rate.

    Raises InputError where it cannot be decoded.
    """
    import soundfile

    name = _check_source(source, name)
    try:
        file = soundfile.SoundFile(_openable(source))
    except (soundfile.SoundFileError, RuntimeError, OSError):
        yield from _av_blocks(source, name)
        return
    with file:
        try:
            for block in file.blocks(10 * file.samplerate, dtype="float32", always_2d=True):
                yield block, file.samplerate
        except (soundfile.SoundFileError, RuntimeError, OSError) as error:
            raise InputError(f"{name}: cannot be decoded as audio.") from error


def is_cut(source: str | Path | bytes) -> bool:
    """Whether the end of a WAV or Ogg file is missing, which decoders pass over in silence.

    A WAV says how many bytes of samples it holds (or, written to a pipe, a number past any file); an Ogg stream's last
    page is marked as such (RFC 3533). Other forms of file do not decode when they are cut, or cannot tell.
    """
    import soundfile

    try:
        with soundfile.SoundFile(_openable(source)) as file:
            told = re.search(r"^data *: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
        if told:
            return int(told[2]) < int(told[1]) < 0x7FFF0000
    except (soundfile.SoundFileError, RuntimeError, OSError):
        pass
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(0, io.SEEK_END)
        file.seek(max(0, file.tell() - OGG_PAGE))
        tail = file.read()
    flags = tail[tail.rfind(b"OggS") + 5 :][:1]
    return not flags or not flags[0] & 4


def _check_source(source: str | Path | bytes, name: str | None) -> str:
    """What the source is called; InputError where there is no such file."""
    name = name or ("audio bytes" if isinstance(source, bytes) else str(source))
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise InputError(f"{name}: there is no such audio file.")
    return name


def _openable(source: str | Path | bytes) -> io.BytesIO | str:
    return io.BytesIO(source) if isinstance(source, bytes) else str(source)


def _decode(source: str | Path | bytes, name: str, start: float, seconds: float | None) -> tuple[np.ndarray, int]:
    """Samples [frames, channels] of a part, and their rate."""
    import soundfile

    def frames(rate: int) -> int:
        return -1 if seconds is None else math.ceil(seconds * rate)

    try:
        with soundfile.SoundFile(_openable(source)) as file:
            if start:
                file.seek(min(round(start * file.samplerate), file.frames))
            return file.read(frames(file.samplerate), dtype="float32", always_2d=True), file.samplerate
    except (soundfile.SoundFileError, RuntimeError, OSError):
        blocks = list(_av_blocks(source, name))
        rate, begin = blocks[0][1], round(start * blocks[0][1])
        samples = np.concatenate([block for block, _ in blocks])
        return samples[begin:] if seconds is None else samples[begin : begin + frames(rate)], rate


def _av_blocks(source: str | Path | bytes, name: str) -> Iterator[tuple[np.ndarray, int]]:
    import av

    resampler, rate, empty = None, 0, True
    try:
        with av.open(_openable(source)) as container:
            if not container.streams.audio:
                raise InputError(f"{name}: holds no audio stream.")
            for frame in container.decode(container.streams.audio[0]):
                if resampler is None:  # keeps the rate, makes every sample format planar float
                    rate = frame.sample_rate
                    resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate)
                for part in resampler.resample(frame):
                    empty = False
                    yield part.to_ndarray().T, rate
    except (av.FFmpegError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: cannot be decoded as audio.") from error
    if empty:
        raise InputError(f"{name}: the audio is empty.")


def to_pcm(samples: np.ndarray) -> np.ndarray:
    """Float samples in [-1, 1] -> 16-bit PCM, a quarter of the bytes of a spectrogram."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def from_pcm(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) / 32768.0


class LogMel:
    """Whisper's log-mel spectrogram, on the device of its input; within 1e-4 of WhisperFeatureExtractor.

    Always in float32: under autocast its sums would be off by up to 0.008 in bf16, and by 1.2 in fp16 on quiet audio.
    """

    def __init__(self, feature_extractor):
        import torch

        self.n_fft = feature_extractor.n_fft
        self.hop = feature_extractor.hop_length
        self.samples = feature_extractor.n_samples  # of a full window
        self.frames = feature_extractor.nb_max_frames
        self.mel_bins = feature_extractor.feature_size
        self.filters = torch.from_numpy(np.asarray(feature_extractor.mel_filters)).float()  # [bins, mel]

    @property
    def seconds(self) -> float:
        """Length of a window."""
        return self.samples / SAMPLE_RATE

    def pad(self, clips: list[np.ndarray]):
        """Clips of 16-bit PCM or floats -> float tensor [clips, samples of a window], padded with silence.

        Raises InputError for a clip longer than the window.
        """
        import torch

        waves = torch.zeros(len(clips), self.samples)
        for row, clip in zip(waves, clips, strict=True):
            if len(clip) > self.samples:
                found, limit = len(clip) / SAMPLE_RATE, self.seconds
                raise InputError(f"audio of {found:.1f} s is longer than the model's window of {limit:.0f} s.")
            samples = from_pcm(clip) if clip.dtype == np.int16 else clip.astype(np.float32)
            row[: len(clip)] = torch.from_numpy(samples)
        return waves

    def __call__(self, waves):
        """[clips, samples] -> [clips, mel, frames]"""
        import torch

        with torch.autocast(waves.device.type, enabled=False):
            return self._log_mel(waves.float())

    def _log_mel(self, waves):
        import torch

        window = torch.hann_window(self.n_fft, device=waves.device)
        spectrum = torch.stft(waves, self.n_fft, self.hop, window=window, return_complex=True)
        power = spectrum[..., :-1].abs() ** 2  # [clips, bins, frames]
        mel = self.filters.to(waves.device).T @ power
        log = mel.clamp(min=1e-10).log10()
        log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0)
        return (log + 4.0) / 4.0


def spec_augment(mel, settings, seed: int):
    """Masks one spectrogram [mel, frames] in time and frequency with its mean (1904.08779); a new tensor.

    The masks depend on `seed` alone, so that they are the same however many processes share the work.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    out = mel.clone()
    fill = mel.mean()

    def mask(axis_length: int, width: int) -> slice:
        size = int(torch.randint(0, min(width, axis_length) + 1, (), generator=generator))
        start = int(torch.randint(0, axis_length - size + 1, (), generator=generator))
        return slice(start, start + size)

    for _ in range(settings.time_masks):
        out[:, mask(mel.shape[1], settings.time_width)] = fill
    for _ in range(settings.mel_masks):
        out[mask(mel.shape[0], settings.mel_width)] = fill
    return out
