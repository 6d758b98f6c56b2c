"""Samples at 16 kHz -> Whisper's log-mel spectrogram, and samples as 16-bit PCM and back.

The spectrogram is computed in torch, in float32, on the device of its input, and equals transformers'
WhisperFeatureExtractor.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .sound import SAMPLE_RATE

if TYPE_CHECKING:
    import torch


def to_pcm(samples: np.ndarray) -> np.ndarray:
    """Float samples in [-1, 1] -> int16 samples: half the bytes of float32, a quarter of those of a spectrogram."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def from_pcm(samples: np.ndarray) -> np.ndarray:
    """int16 samples -> float32 samples in [-1, 1]."""
    return samples.astype(np.float32) / 32768.0


class LogMel:
    """Whisper's log-mel spectrogram, on the device of its input; within 1e-4 of WhisperFeatureExtractor.

    Always in float32: under autocast its sums would be off by up to 0.008 in bf16, and by 1.2 in fp16 on quiet audio.
    """

    def __init__(self, feature_extractor: Any) -> None:
        """`feature_extractor`: transformers' WhisperFeatureExtractor, whose sizes and filters are used."""
        import torch

        self.n_fft = feature_extractor.n_fft
        self.hop = feature_extractor.hop_length
        self.samples = feature_extractor.n_samples  # of a full window
        self.frames = feature_extractor.nb_max_frames
        self.mel_bins = feature_extractor.feature_size
        self.filters = torch.from_numpy(np.asarray(feature_extractor.mel_filters)).float()  # [bins, mel]

    @property
    def seconds(self) -> float:
        """The length of a window."""
        return self.samples / SAMPLE_RATE

    def features(self, clips: Sequence[np.ndarray], device: "torch.device | str" = "cpu") -> "torch.Tensor":
        """Clips of 16-bit PCM or floats at 16 kHz -> log-mel [clips, mel, frames] on `device`, padded to the window.

        Raises InputError for a clip longer than the window.
        """
        return self(self.pad(clips).to(device))

    def pad(self, clips: Sequence[np.ndarray]) -> "torch.Tensor":
        """Clips of 16-bit PCM or floats -> float tensor [clips, samples of the longest], padded with silence.

        Raises InputError for a clip longer than the window.
        """
        import torch

        waves = torch.zeros(len(clips), min(self.samples, max(map(len, clips), default=0)))
        for row, clip in zip(waves, clips, strict=True):
            if len(clip) > self.samples:
                found, limit = len(clip) / SAMPLE_RATE, self.seconds
                raise InputError(f"audio of {found:.1f} s is longer than the model's window of {limit:.0f} s.")
            samples = from_pcm(clip) if clip.dtype == np.int16 else clip.astype(np.float32)
            row[: len(clip)] = torch.from_numpy(samples)
        return waves

    def __call__(self, waves: "torch.Tensor") -> "torch.Tensor":
        """Samples [clips, a window's or fewer] -> log-mel [clips, mel, frames], on the device of `waves`, where
        they are filled up with silence. Only its first frames are computed: one is like the other."""
        import torch

        length = min(self.samples, waves.shape[-1] + self.hop + self.n_fft)  # the last frame holds silence alone
        with torch.autocast(waves.device.type, enabled=False):
            mel = self._log_mel(torch.nn.functional.pad(waves.float(), (0, length - waves.shape[-1])))
        return torch.cat([mel, mel[..., -1:].expand(-1, -1, self.frames - mel.shape[-1])], dim=-1)

    def _log_mel(self, waves: "torch.Tensor") -> "torch.Tensor":
        import torch

        window = torch.hann_window(self.n_fft, device=waves.device)
        spectrum = torch.stft(waves, self.n_fft, self.hop, window=window, return_complex=True)
        power = spectrum[..., :-1].abs() ** 2  # [clips, bins, frames]
        mel = self.filters.to(waves.device).T @ power
        log = mel.clamp(min=1e-10).log10()
        log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0)
        return (log + 4.0) / 4.0
