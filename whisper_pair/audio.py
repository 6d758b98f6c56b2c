"""Sound in: any file, rate and channel count -> 16 kHz mono float32 -> Whisper's log-mel spectrogram.

Files are read by libsndfile (soundfile) and, where it cannot, by PyAV; no FFmpeg program is needed. The spectrogram is
computed in torch on whichever device the model is on, and equals transformers' WhisperFeatureExtractor.
"""

import io
from pathlib import Path

import numpy as np

from .errors import InputError

SAMPLE_RATE = 16_000


def read_audio(source: str | Path | bytes, name: str | None = None) -> np.ndarray:
    """Float32 samples in [-1, 1], mono, 16 kHz: [samples].

    `source` is a path or a file's bytes; `name` stands in messages. Raises InputError if it cannot be decoded, is
    empty, or holds NaN.
    """
    name = name or ("audio bytes" if isinstance(source, bytes) else str(source))
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise InputError(f"{name}: there is no such audio file.")
    samples, rate = _decode(source, name)
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
        info = soundfile.info(io.BytesIO(source) if isinstance(source, bytes) else str(source))
    except (soundfile.SoundFileError, RuntimeError, OSError):
        return len(read_audio(source, name)) / SAMPLE_RATE
    return info.frames / info.samplerate


def _decode(source: str | Path | bytes, name: str) -> tuple[np.ndarray, int]:
    """Samples [frames, channels] and their rate."""
    import soundfile

    try:
        return soundfile.read(
            io.BytesIO(source) if isinstance(source, bytes) else str(source), dtype="float32", always_2d=True
        )
    except (soundfile.SoundFileError, RuntimeError, OSError):
        return _decode_with_av(source, name)


def _decode_with_av(source: str | Path | bytes, name: str) -> tuple[np.ndarray, int]:
    import av

    try:
        with av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source)) as container:
            if not container.streams.audio:
                raise InputError(f"{name}: holds no audio stream.")
            resampler, rate, parts = None, 0, []
            for frame in container.decode(container.streams.audio[0]):
                if resampler is None:  # keeps the rate, makes every sample format planar float
                    rate = frame.sample_rate
                    resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate)
                parts += [part.to_ndarray() for part in resampler.resample(frame)]
    except (av.FFmpegError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: cannot be decoded as audio.") from error
    if not parts:
        raise InputError(f"{name}: the audio is empty.")
    return np.concatenate(parts, axis=1).T, rate


def to_pcm(samples: np.ndarray) -> np.ndarray:
    """Float samples in [-1, 1] -> 16-bit PCM, a quarter of the bytes of a spectrogram."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


class LogMel:
    """Whisper's log-mel spectrogram, on the device of its input; within 1e-4 of WhisperFeatureExtractor."""

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
            scale = 32768.0 if clip.dtype == np.int16 else 1.0
            row[: len(clip)] = torch.from_numpy(clip.astype(np.float32)) / scale
        return waves

    def __call__(self, waves):
        """[clips, samples] -> [clips, mel, frames]"""
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
