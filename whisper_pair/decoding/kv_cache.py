"""Keys and values of the rows of a batch, preallocated; each row writes at its own positions.

Letters in shapes: L cache positions, H heads, D head width, F encoder frames.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .decoder import Decoder

MAX_DRAFT_TOKENS = 32
SPARE_SLOTS = 48  # past the model's last position: for drafts that the length limit will cut, and for measuring


class KVCache:
    """Keys and values of `capacity` rows. Rows in use are the first ones, so a smaller batch is a view."""

    def __init__(self, decoder: "Decoder", capacity: int, frames: int):
        layers, heads, width = len(decoder.layers), decoder.heads, decoder.width
        self.capacity, self.frames = capacity, frames
        zeros = partial(torch.zeros, dtype=decoder.dtype, device=decoder.device)
        self.own = zeros(layers, capacity, decoder.positions, 2, heads, width // heads)
        self.cross = zeros(layers, 2, capacity, heads, frames, width // heads)
        self.flat = self.own.view(layers, capacity * decoder.positions, 2 * width)
        self.layers = self.flat.unbind(0)
        self.row_starts = torch.arange(capacity, device=decoder.device)[:, None] * decoder.positions
        self._cross_views: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}

    def cross_views(self, count: int, first: int = 0) -> list[tuple[Tensor, Tensor]]:
        """Each layer's cross-attention keys and values of `count` slots: [count, H, F, D] twice."""
        if (count, first) not in self._cross_views:
            slots = self.cross[:, :, first : first + count]
            self._cross_views[count, first] = [(layer[0], layer[1]) for layer in slots.unbind(0)]
        return self._cross_views[count, first]

    def move_slots(self, length: Tensor, slots: Tensor) -> None:
        """Move keys and values within rows: row b's slot length + slots[b, k] to length + k, for k < D. All at once, so
        that a slot may be both. length [B, 1], slots [B, D]."""
        starts = self.row_starts[: len(slots)] + length
        order = torch.arange(slots.shape[1], device=slots.device)
        moved = self.flat.index_select(1, (starts + slots).view(-1))  # [layers, B D, 2 d]
        self.flat.index_copy_(1, (starts + order).view(-1), moved)

    def move(self, source: int, target: int) -> None:
        """Copy all of a row's keys and values to another row, when the batch closes a gap."""
        self.own[:, target] = self.own[:, source]
        self.cross[:, :, target] = self.cross[:, :, source]


class SharedCache:
    """The main's cache, which engines of one main share. A larger one replaces it, and makes graphs invalid."""

    def __init__(self) -> None:
        self.cache: KVCache | None = None

    def grow(self, main: "Decoder", capacity: int, frames: int, forget: Callable[[], None]) -> KVCache:
        """The cache, of at least so many rows. `forget` lets go of the old one before a larger one is made."""
        if self.cache is None or self.cache.capacity < capacity:
            forget()
            self.cache = None
            self.cache = KVCache(main, capacity, frames)
        return self.cache
