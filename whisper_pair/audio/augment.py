"""Perturbed copies of speech: new audio for the main to label, where a corpus is small.

Stage 2 learns the main's own transcripts, and the main can label any audio. So a window with another speed, room, noise
or level is a new sample, as long as it is perturbed *before* the main labels it. So is one whose clips were joined with
others (whisper_pair.data.packing).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..config import Perturb, SpecAugment
from .sound import SAMPLE_RATE

if TYPE_CHECKING:
    import torch

REVERBERATION = (0.1, 0.6)  # seconds until an echo has fallen by 60 dB: a small room to a hall
LEVEL = 6.0  # dB, the most that a copy is louder or softer
DIRECT_TO_ECHO = (0.0, 12.0)  # dB, the speech over its echo


@dataclass(frozen=True)
class Perturbation:
    """How one copy of a window is changed: drawn from `seed` within `settings`."""

    settings: Perturb
    seed: int
    most: int  # samples that the copy may have: a window's

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """float32 samples [n] at 16 kHz -> a perturbed copy, the same for the same seed."""
        draw = np.random.default_rng(self.seed)
        samples = at_speed(samples, self._speed(draw, len(samples)))[: self.most]
        if draw.random() < self.settings.room:
            samples = in_room(samples, draw.uniform(*REVERBERATION), draw.uniform(*DIRECT_TO_ECHO), draw)
        if draw.random() < self.settings.noise:
            samples = with_noise(samples, draw.uniform(self.settings.least_snr, self.settings.least_snr + 25), draw)
        return at_level(samples, draw.uniform(-LEVEL, LEVEL))

    def length(self, samples: int) -> int:
        """Samples of a copy of so many."""
        speed = self._speed(np.random.default_rng(self.seed), samples)
        return min(self.most, math.ceil(samples / speed))

    def _speed(self, draw: np.random.Generator, length: int) -> float:
        """As drawn, but never so slow that speech would be cut off."""
        slowest = max(1 - self.settings.speed, min(1.0, length / self.most))
        return draw.uniform(slowest, 1 + self.settings.speed)


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """The samples played `speed` times as fast, their pitch changed too.

    Ko et al. 2015, "Audio augmentation for speech recognition".
    """
    import soxr

    return soxr.resample(samples, SAMPLE_RATE * speed, SAMPLE_RATE, quality="HQ").astype(np.float32)


def in_room(samples: np.ndarray, reverberation: float, direct_to_echo: float, draw: np.random.Generator) -> np.ndarray:
    """The samples with a diffuse echo, noise that decays by 60 dB in `reverberation` seconds.

    The echo is `direct_to_echo` dB below the speech. The exponential model of late reverberation (Polack 1988); the
    samples stay where they were in time.
    """
    length = round(reverberation * SAMPLE_RATE)
    decay = 10 ** (-3 * np.arange(length) / length)
    echo = draw.standard_normal(length) * decay
    echo *= 10 ** (-direct_to_echo / 20) / np.sqrt((echo**2).sum())
    size = 1 << (len(samples) + length - 1).bit_length()
    reflected = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)[: len(samples)]
    return (samples + reflected).astype(np.float32)


def with_noise(samples: np.ndarray, snr: float, draw: np.random.Generator) -> np.ndarray:
    """The samples under noise whose power falls with frequency as 1/f^a, a from 0 (white) to 2 (brown), at `snr` dB."""
    size = 1 << (len(samples) - 1).bit_length()
    frequencies = np.arange(1, size // 2 + 2)
    spectrum = np.fft.rfft(draw.standard_normal(size)) * frequencies ** (-draw.uniform(0, 2) / 2)
    noise = np.fft.irfft(spectrum, size)[: len(samples)]
    power = (samples.astype(np.float64) ** 2).mean() / max((noise**2).mean(), 1e-20)
    return (samples + noise * np.sqrt(power * 10 ** (-snr / 10))).astype(np.float32)


def at_level(samples: np.ndarray, decibels: float) -> np.ndarray:
    """The samples louder (or softer, below 0) by `decibels`, but never beyond full scale."""
    peak = np.abs(samples).max(initial=1e-9)
    return (samples * min(10 ** (decibels / 20), 1 / peak)).astype(np.float32)


def spec_augment(mel: "torch.Tensor", settings: SpecAugment, seed: int) -> "torch.Tensor":
    """Masks one spectrogram [mel, frames] in time and frequency with its mean (1904.08779), in a new tensor.

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
