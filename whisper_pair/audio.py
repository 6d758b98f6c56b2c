"""Sound in: any file, rate and channel count -> 16 kHz mono float32 -> Whisper's log-mel spectrogram.

Files are read by PyAV (see sound.py); no FFmpeg program is needed. The spectrogram is computed in torch on whichever
device the model is on, and equals transformers' WhisperFeatureExtractor.
"""

import math
import os
from collections import Counter
from pathlib import Path

import numpy as np

from .channels import whole_numbers
from .errors import InputError
from .sound import SAMPLE_RATE, Sound, Source, total_seconds

KEPT_OPEN = 4  # long files of which pieces are read
_open_files: dict[tuple, Sound] = {}


def read_audio(
    source: Source, name: str | None = None, start: float = 0.0, seconds: float | None = None, track: int = 1
) -> np.ndarray:
    """Float32 samples in [-1, 1], mono, 16 kHz: [samples].

    `source` is a path, a part of a file or a file's bytes; `name` stands in messages; `start` and `seconds` choose a
    part of it, and `track` one of several audio tracks, counted from 1. Raises InputError if it cannot be decoded, is
    empty, or holds NaN.
    """
    first, count = round(start * SAMPLE_RATE), None if seconds is None else math.ceil(seconds * SAMPLE_RATE - 1e-6)
    key = _key(source, track) if first else None
    sound = _open_files.pop(key, None) or Sound(source, name, track)
    samples = sound.read(first, count)
    if key is None:
        sound.close()
    else:
        _keep_open(key, sound)
    if samples.size == 0:
        raise InputError(f"{sound.name}: the audio is empty.")
    return samples


def audio_seconds(source: Source, name: str | None = None) -> float:
    """Length in seconds: of what can be decoded, whatever a header says."""
    frames = Counter()
    with Sound(source, name) as sound:
        for block, rate in sound.native():
            frames[rate] += len(block)
    return total_seconds(frames)


def _key(source: Source, track: int) -> tuple | None:
    """Names a file as it is now, in this process: a fork would share its place in the file."""
    try:
        found = os.stat(source) if isinstance(source, str | Path) else None
    except (OSError, ValueError):
        return None
    return found and (os.getpid(), str(source), track, found.st_mtime_ns, found.st_size)


def _keep_open(key: tuple, sound: Sound) -> None:
    """For the next piece; whoever reads has taken it out, so no two threads share one."""
    _open_files[key] = sound
    while len(_open_files) > KEPT_OPEN:
        if oldest := _open_files.pop(next(iter(_open_files), None), None):
            oldest.close()


def as_floats(samples: np.ndarray) -> np.ndarray:
    """Samples [n] as a caller hands them over -> float32 in [-1, 1]; 16-bit integers may come as floats."""
    if samples.dtype == np.int16:
        return from_pcm(samples)
    return samples.astype(np.float32) / np.float32(whole_numbers(samples))


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
