"""Many channels to one, without losing the speech of any of them.

The mean is right for most recordings. It is wrong where one channel is another one inverted (a balanced line on a
stereo plug), since the two then cancel; and a silent channel would halve the others. So each block is checked.
"""

import numpy as np

SILENT = 1e-5  # of the loudest channel's energy: 50 dB below it
FADE = 0.02  # seconds from one choice of channels to the next
CANCELLED, QUIET = "channels that cancel each other, of which one is used", "a silent channel, which is left out"


class Mixer:
    """Mixes block after block of one stream, float32 [frames, channels] -> [frames]."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self.found: set[str] = set()  # CANCELLED, QUIET

    def __call__(self, block: np.ndarray, rate: int) -> np.ndarray:
        """One block [frames, channels] as mono [frames]."""
        if block.shape[1] == 1:
            return block[:, 0]
        weights = self._weights(block)
        before, self._before = self._before, weights
        mixed = block.mean(axis=1, dtype=np.float32) if np.ptp(weights) == 0 else block @ weights
        if before is not None and len(before) == len(weights) and not np.array_equal(before, weights):
            frames = min(len(block), max(1, round(FADE * rate)))
            fade = np.linspace(0, 1, frames, dtype=np.float32)
            mixed[:frames] = fade * mixed[:frames] + (1 - fade) * (block[:frames] @ before)
        return mixed

    def _weights(self, block: np.ndarray) -> np.ndarray:
        """Each channel's share; they sum to 1."""
        energy = np.einsum("fc,fc->c", block, block, dtype=np.float64) / max(1, len(block))
        used = energy > SILENT * energy.max()
        if not used.any():
            return np.full(block.shape[1], 1 / block.shape[1], np.float32)
        count = used.sum()
        mixed = block[:, used].mean(axis=1, dtype=np.float32)
        if count > 1 and float(np.square(mixed, dtype=np.float64).mean()) < energy[used].sum() / count**2 / 2:
            self.found.add(CANCELLED)
            first = int(np.flatnonzero(energy >= energy.max() / 2)[0])
            likeness = (block.T @ block[:, first]) / len(block) / np.sqrt(np.maximum(energy * energy[first], 1e-30))
            used &= likeness > -0.5
        elif count < len(used):
            self.found.add(QUIET)
        return (used / used.sum()).astype(np.float32)


def whole_numbers(samples: np.ndarray) -> int:
    """The scale of floats that hold integers of 16, 24 or 32 bits; 1 for samples in [-1, 1]."""
    peak = float(np.abs(samples).max(initial=0.0))
    if not 1.0 < peak <= 2**31 or not np.array_equal(samples, np.rint(samples)):
        return 1
    return next(scale for scale in (2**15, 2**23, 2**31) if peak <= scale)
