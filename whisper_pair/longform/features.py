"""The log-mel spectrogram of a whole recording, computed in blocks, and its windows.

A recording longer than the model's window is normalised by its loudest moment, as Whisper and transformers do, and what
a window lacks at the recording's end is filled with zeros. One that fits into a window is padded with silence, as in
training, before its spectrogram is taken.

A file is read once for its loudest moment. Of one of up to half an hour the spectrogram is then there; a longer one is
read again as its windows are needed, so that memory does not grow with its length.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..audio import LogMel, Sound
from ..errors import InputError

BLOCK = 12_000  # frames that are transformed at once: two minutes
KEPT = 180_000  # frames of a file that are held in memory: half an hour
SMOOTH = 31  # frames over which loudness is taken: 0.3 s, long enough to pass over the closure of a stop consonant


def spectrogram(log_mel: LogMel, samples: np.ndarray, device: torch.device) -> tuple[Tensor, int]:
    """samples [n] at 16 kHz -> log-mel [mel, frames] on the CPU, and how many of its frames hold sound."""
    sound = max(1, len(samples) // log_mel.hop)
    if len(samples) <= log_mel.samples:
        return log_mel.features([samples], device)[0].cpu(), sound
    blocks = range(0, sound, BLOCK)
    log = torch.cat([_log(log_mel, samples, 0, first, min(first + BLOCK, sound), device) for first in blocks], 1)
    return _normalised(log, float(log.max())), sound


def _log(log_mel: LogMel, samples: np.ndarray, begin: int, first: int, last: int, device: torch.device) -> Tensor:
    """log10 of the mel spectrum of frames `first` to `last`, [mel, frames] on the CPU. `samples` [n] begin at number
    `begin` of the recording; where they do not reach, the recording ends, and is mirrored."""
    half = log_mel.n_fft // 2
    left, right = first * log_mel.hop - half - begin, (last - 1) * log_mel.hop + half - begin
    wave = torch.from_numpy(samples[max(0, left) : right])[None]
    wave = F.pad(wave, (max(0, -left), max(0, right - len(samples))), mode="reflect")[0].to(device)
    window = torch.hann_window(log_mel.n_fft, device=device)
    spectrum = torch.stft(wave, log_mel.n_fft, log_mel.hop, window=window, center=False, return_complex=True)
    return (log_mel.filters.to(device).T @ spectrum.abs() ** 2).clamp(min=1e-10).log10().cpu()


def _normalised(log: Tensor, loudest: float) -> Tensor:
    return (log.clamp(min=loudest - 8.0) + 4.0) / 4.0


@dataclass
class Whole:
    """A spectrogram [mel, frames] in memory."""

    features: Tensor
    frames: int  # that hold sound

    @property
    def silence(self) -> float:
        """What digital silence is in this spectrogram."""
        return silence(self.features)

    def stretch(self, first: int, last: int) -> Tensor:
        """Frames `first` to `last`, [mel, last - first]."""
        return self.features[:, first:last]

    def close(self) -> None:
        """Nothing is open."""
        pass


@dataclass
class InPieces:
    """A spectrogram that is computed from its file where it is needed; fast in order."""

    sound: Sound
    log_mel: LogMel
    device: torch.device
    loudest: float
    frames: int
    _last: tuple[int, Tensor] | None = None  # the stretch that was asked for last, and where it begins

    @property
    def silence(self) -> float:
        """What digital silence is in this spectrogram."""
        return (self.loudest + 4.0) / 4.0 - 2.0

    def stretch(self, first: int, last: int) -> Tensor:
        """Frames `first` to `last`, or up to the end: [mel, frames]."""
        last = min(last, self.frames)
        if self._last is None or not self._last[0] <= first <= last <= self._last[0] + self._last[1].shape[1]:
            begin = max(0, first * self.log_mel.hop - self.log_mel.n_fft // 2)
            end = (last - 1) * self.log_mel.hop + self.log_mel.n_fft // 2
            log = _log(self.log_mel, self.sound.read(begin, end - begin), begin, first, last, self.device)
            self._last = first, _normalised(log, self.loudest)
        return self._last[1][:, first - self._last[0] : last - self._last[0]]

    def close(self) -> None:
        """Closes the file."""
        self.sound.close()


def file_spectrogram(log_mel: LogMel, sound: Sound, device: torch.device) -> Whole | InPieces:
    """Raises InputError for a file that cannot be read or is empty."""
    head = sound.read(0, log_mel.samples + 1)
    if len(head) == 0:
        raise InputError(f"{sound.name}: the audio is empty.")
    if len(head) <= log_mel.samples:
        return Whole(*spectrogram(log_mel, head, device))
    half, loudest, first, ended = log_mel.n_fft // 2, -float("inf"), 0, False
    logs: list[Tensor] | None = []
    while not ended:
        begin, end = max(0, first * log_mel.hop - half), (first + BLOCK) * log_mel.hop + half
        samples = sound.read(begin, end - begin)
        ended = len(samples) < end - begin
        last = (begin + len(samples)) // log_mel.hop if ended else first + BLOCK
        if last > first:
            log = _log(log_mel, samples, begin, first, last, device)
            loudest, first = max(loudest, float(log.max())), last
            logs = [*logs, log] if logs is not None and last <= KEPT else None
    if logs is None:
        return InPieces(sound, log_mel, device, loudest, first)
    return Whole(_normalised(torch.cat(logs, 1), loudest), first)


def cut(features: Tensor, first: int, frames: int, size: int, fill: float = 0.0) -> Tensor:
    """The window [mel, size] that begins at frame `first` and holds `frames` of the recording."""
    window = features[:, first : first + frames]
    return F.pad(window, (0, size - window.shape[1]), value=fill)


def silence(features: Tensor) -> float:
    """What digital silence is in a spectrogram that was normalised by its maximum: 8 decades / 4 below it."""
    return float(features.max()) - 2.0


def quiet_cuts(features: Tensor, frames: int, size: int) -> list[tuple[int, int]]:
    """(first frame, frames) of windows without overlap, cut where the last third of each is quietest."""
    cuts: list[tuple[int, int]] = []
    first = 0
    while not cuts or first < frames:
        end = quiet_end(Whole(features, frames), first, size)
        cuts.append((first, end - first))
        first = end
    return cuts


def quiet_end(features: Whole | InPieces, first: int, size: int) -> int:
    """The frame before which the window that begins at `first` ends."""
    if features.frames - first <= size:
        return features.frames
    begin, margin = first + 2 * size // 3, SMOOTH // 2
    end = min(features.frames, first + size + margin)
    before = min(margin, begin - first)
    loudness = features.stretch(first, end)[:, begin - before - first :].mean(0)
    smooth = F.avg_pool1d(loudness[None, None], SMOOTH, stride=1, padding=margin, count_include_pad=False)[0, 0]
    return begin + int(smooth[before : before + first + size - begin].argmin())
