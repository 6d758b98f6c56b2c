"""Encoder states on disk, each computed once.

With a frozen encoder its output is a function of the window alone, so later epochs read it (half precision,
1500 x 512 x 2 bytes = 1.5 MB a window for whisper-base, 3.8 MB for large-v3) instead of running the encoder and
decoding the audio again. Filled as windows are first met; processes on one machine share the file.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class EncoderCache:
    """States of `windows` windows, [frames, width] each, in two memory-mapped files of `folder`."""

    def __init__(self, folder: Path, windows: int, frames: int, width: int):
        folder.mkdir(parents=True, exist_ok=True)
        self._numbers: Sequence[int] = range(windows)
        self._present = _map(folder / "present", np.uint8, (windows,))
        self._states = _map(folder / "states.f16", np.float16, (windows, frames, width))

    def __contains__(self, window: int) -> bool:
        return bool(self._present[self._numbers[window]])

    def read(self, window: int) -> Tensor:
        """[frames, width], float16"""
        return torch.from_numpy(np.array(self._states[self._numbers[window]]))

    def of(self, windows: Sequence[int]) -> "EncoderCache":
        """A view in which number i is windows[i]."""
        view = copy.copy(self)
        view._numbers = [self._numbers[window] for window in windows]
        return view

    def write(self, window: int, states: Tensor) -> None:
        self._states[self._numbers[window]] = states.to(torch.float16).cpu().numpy()
        self._present[self._numbers[window]] = 1  # last, so that a reader never sees half of it


def _map(path: Path, dtype, shape: tuple[int, ...]) -> np.memmap:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with open(path, "ab") as file:  # a sparse file of the right size; one of another size starts afresh
        if file.tell() not in (0, size):
            file.truncate(0)
        file.truncate(size)
    return np.memmap(path, dtype, "r+", shape=shape)
