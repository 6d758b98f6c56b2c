"""Keys and values of the rows of a batch, preallocated; each row writes at its own positions.

Letters in shapes: L cache positions, H heads, D head width, F encoder frames.
"""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .decoder import Decoder

MAX_DRAFT_TOKENS = 32  # slots past the model's last position, for drafts that the length limit will cut


class KVCache:
    """Keys and values of `capacity` rows. Rows in use are the first ones, so a smaller batch is a view."""

    def __init__(self, decoder: "Decoder", capacity: int, frames: int):
        layers, heads, width = len(decoder.layers), decoder.heads, decoder.width
        self.capacity, self.frames = capacity, frames
        zeros = partial(torch.zeros, dtype=decoder.dtype, device=decoder.device)
        self.own = zeros(layers, capacity, decoder.positions, 2, heads, width // heads)
        self.cross = zeros(layers, 2, capacity, heads, frames, width // heads)
        self.layers = self.own.view(layers, capacity * decoder.positions, 2 * width).unbind(0)
        self.row_starts = torch.arange(capacity, device=decoder.device)[:, None] * decoder.positions
        self._cross_views: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}

    def cross_views(self, count: int, first: int = 0) -> list[tuple[Tensor, Tensor]]:
        """Each layer's cross-attention keys and values of `count` slots: [count, H, F, D] twice."""
        if (count, first) not in self._cross_views:
            slots = self.cross[:, :, first : first + count]
            self._cross_views[count, first] = [(layer[0], layer[1]) for layer in slots.unbind(0)]
        return self._cross_views[count, first]

    def move(self, source: int, target: int) -> None:
        """Copy all of a row's keys and values to another row, when the batch closes a gap."""
        self.own[:, target] = self.own[:, source]
        self.cross[:, :, target] = self.cross[:, :, source]
