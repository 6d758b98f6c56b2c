"""The log-mel spectrogram of a whole recording, computed in blocks, and its windows.

A recording longer than the model's window is normalised by its loudest moment, as Whisper and transformers do, and what
a window lacks at the recording's end is filled with zeros. One that fits into a window is padded with silence, as in
training, before its spectrogram is taken.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..audio import LogMel

BLOCK = 60_000  # frames that are transformed at once: ten minutes


def spectrogram(log_mel: LogMel, samples: np.ndarray, device: torch.device) -> tuple[Tensor, int]:
    """samples [n] at 16 kHz -> log-mel [mel, frames] on the CPU, and how many of its frames hold sound."""
    sound = max(1, len(samples) // log_mel.hop)
    if len(samples) <= log_mel.samples:
        return log_mel(log_mel.pad([samples]).to(device))[0].cpu(), sound
    half = log_mel.n_fft // 2
    wave = F.pad(torch.from_numpy(samples)[None], (half, half), mode="reflect")[0]
    window = torch.hann_window(log_mel.n_fft, device=device)
    filters = log_mel.filters.to(device).T  # [mel, bins]
    logs = []
    for first in range(0, sound, BLOCK):
        last = min(first + BLOCK, sound) - 1
        part = wave[first * log_mel.hop : last * log_mel.hop + log_mel.n_fft].to(device)
        spectrum = torch.stft(part, log_mel.n_fft, log_mel.hop, window=window, center=False, return_complex=True)
        logs.append((filters @ spectrum.abs() ** 2).clamp(min=1e-10).log10().cpu())
    log = torch.cat(logs, 1)
    return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0, sound


def cut(features: Tensor, first: int, frames: int, size: int, fill: float = 0.0) -> Tensor:
    """The window [mel, size] that begins at frame `first` and holds `frames` of the recording."""
    window = features[:, first : first + frames]
    return F.pad(window, (0, size - window.shape[1]), value=fill)


def silence(features: Tensor) -> float:
    """What digital silence is in a spectrogram that was normalised by its maximum: 8 decades / 4 below it."""
    return float(features.max()) - 2.0


def quiet_cuts(features: Tensor, frames: int, size: int) -> list[tuple[int, int]]:
    """(first frame, frames) of windows without overlap, cut where the last third of each is quietest.

    Loudness is the mean over mel bands and over 0.3 s: long enough to pass over the closure of a stop consonant.
    """
    loudness = features[:, :frames].mean(0)  # [frames]
    smooth = F.avg_pool1d(loudness[None, None], 31, stride=1, padding=15, count_include_pad=False)[0, 0]
    cuts, first = [], 0
    while frames - first > size:
        earliest = first + 2 * size // 3
        end = earliest + int(smooth[earliest : first + size].argmin())
        cuts.append((first, end - first))
        first = end
    return [*cuts, (first, frames - first)]
