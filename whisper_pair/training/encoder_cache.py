"""Encoder states on disk, each computed once.

With a frozen encoder its output is a function of the window alone, so later epochs read it (in half precision
1500 x 512 x 2 bytes = 1.5 MB a window for whisper-base, 3.8 MB for large-v3) instead of running the encoder and
decoding the audio again. The first epoch fills the cache.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .window_cache import WindowCache


class EncoderCache:
    """States [frames, width] of each of `windows` windows."""

    def __init__(
        self,
        folder: Path,
        windows: int,
        frames: int | Sequence[int],
        width: int,
        about: Mapping[str, Any] = {},
        dtype: str = "float16",
    ):
        """`frames`, `width`: of the states of all windows, or of each; `about`: what they are computed from,
        empty where the folder belongs to one main and data set; `dtype`: torch's name of the type on disk."""
        self.dtype = getattr(torch, dtype)
        lengths = [frames] * windows if isinstance(frames, int) else list(frames)
        self._parts: tuple[WindowCache, ...] = (WindowCache(folder, {"states": (dtype, width)}, lengths, about),)
        self._numbers: Sequence[int] = range(windows)  # among the windows of all parts, one part after another

    def __contains__(self, window: int) -> bool:
        part, number = self._place(window)
        return number in part

    def read(self, window: int) -> Tensor | None:
        """States [frames, width]; None where they are not there or damaged."""
        part, number = self._place(window)
        found = part.read(number)
        return None if found is None else found["states"]

    def of(self, windows: Sequence[int]) -> "EncoderCache":
        """A view in which number i is windows[i]."""
        view = copy.copy(self)
        view._numbers = [self._numbers[window] for window in windows]
        return view

    def followed_by(self, other: "EncoderCache") -> "EncoderCache":
        """A view of two whole caches, in which the other's windows are numbered after these."""
        view = copy.copy(self)
        view._parts = (*self._parts, *other._parts)
        view._numbers = range(len(self._numbers) + len(other._numbers))
        return view

    def write(self, window: int, states: Tensor) -> None:
        """Queues states [frames, width] to be written."""
        part, number = self._place(window)
        part.write(number, {"states": states})

    def _place(self, window: int) -> tuple[WindowCache, int]:
        """The part that a window is in, and its number there."""
        number = self._numbers[window]
        for part in self._parts:
            if number < len(part):
                return part, number
            number -= len(part)
        raise IndexError(window)
