"""Keys and values of the rows of a batch, preallocated; each row writes at its own positions.

A row's window may be shorter than those of its neighbours: its cross-attention keys fill the first frames of its slot,
and a bias of -inf hides those after them.

Letters in shapes: L cache positions, H heads, D head width, F encoder frames.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .decoder import Decoder

MAX_DRAFT_TOKENS = 32
SPARE_SLOTS = 48  # past the model's last position: for drafts that the length limit will cut, and for measuring

# Cross-attention keys and values [B, H, F, D] twice, and what is added to the scores [B, 1, 1, F]; None: nothing.
Cross = tuple[Tensor, Tensor, Tensor | None]


class Keys(NamedTuple):
    """What a step of some rows attends to."""

    own: int  # slots: greater than every slot fed
    frames: int  # of the encoder: those of the longest window
    masked: bool = False  # has some row fewer frames?


class KVCache:
    """Keys and values of `capacity` rows. Rows in use are the first ones, so a smaller batch is a view."""

    own: Tensor  # [layers, capacity, L, 2, H, D]
    cross: Tensor  # [layers, 2, capacity, H, F, D]
    bias: Tensor  # [capacity, 1, 1, F] -inf past the end of a row's window

    def __init__(self, decoder: "Decoder", capacity: int, frames: int, device: torch.device | str | None = None):
        """`device`: None: the decoder's; "meta": to know the sizes alone."""
        layers, heads, width = len(decoder.layers), decoder.heads, decoder.width
        self.capacity = capacity
        device = decoder.device if device is None else device
        self._zeros = partial(torch.zeros, dtype=decoder.dtype, device=device)
        self._sizes = layers, heads, width // heads
        self.own = self._zeros(layers, capacity, decoder.positions, 2, heads, width // heads)
        self.flat = self.own.view(layers, capacity * decoder.positions, 2 * width)
        self.layers = self.flat.unbind(0)
        self.row_starts = torch.arange(capacity, device=device)[:, None] * decoder.positions
        self._allocate(frames)

    def _allocate(self, frames: int) -> None:
        layers, heads, width = self._sizes
        self.frames, self.lengths = frames, [frames] * self.capacity  # lengths: frames of each slot's window
        self.cross = self._zeros(layers, 2, self.capacity, heads, frames, width)
        self.bias = self._zeros(self.capacity, 1, 1, frames)
        self._cross_views: dict[tuple[int, int, bool], list[Cross]] = {}

    def widen(self, frames: int, used: int = 0) -> None:
        """Make room for windows of so many frames. The first `used` rows keep theirs."""
        cross, bias, lengths = self.cross[:, :, :used], self.bias[:used], self.lengths[:used]
        before = self.frames
        self._cross_views.clear()
        if not used:
            del self.cross, cross  # before the larger one is made
        self._allocate(frames)
        if used:
            self.cross[:, :, :used, :, :before], self.bias[:used, ..., :before] = cross, bias
            self.bias[:used, ..., before:] = -torch.inf
            self.lengths[:used] = lengths

    def hold(self, lengths: Sequence[int], first: int) -> None:
        """The rows from slot `first` on are to hold windows of so many frames."""
        slots = slice(first, first + len(lengths))
        if self.lengths[slots] == [*lengths]:
            return
        self.lengths[slots] = lengths
        ends = torch.tensor(lengths, device=self.bias.device).view(-1, 1, 1, 1)
        past = torch.arange(self.frames, device=self.bias.device) >= ends
        self.bias[slots] = torch.zeros_like(self.bias[slots]).masked_fill(past, -torch.inf)

    def cross_views(self, count: int, first: int = 0, keys: Keys | None = None) -> list[Cross]:
        """Each layer's cross-attention keys and values of `count` slots; keys None: as long as their longest window."""
        if keys is None:
            lengths = self.lengths[first : first + count]
            keys = Keys(0, max(lengths), min(lengths) < max(lengths))
        if first:
            return self._views(count, first, keys)
        view = count, keys.frames, keys.masked
        if view not in self._cross_views:
            self._cross_views[view] = self._views(count, first, keys)
        return self._cross_views[view]

    def _views(self, count: int, first: int, keys: Keys) -> list[Cross]:
        slots = self.cross[:, :, first : first + count, :, : keys.frames]
        bias = self.bias[first : first + count, ..., : keys.frames] if keys.masked else None
        return [(layer[0], layer[1], bias) for layer in slots.unbind(0)]

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
        frames = self.lengths[source]
        self.cross[:, :, target, :, :frames] = self.cross[:, :, source, :, :frames]
        if self.lengths[target] != frames:
            self.bias[target], self.lengths[target] = self.bias[source], frames

    @property
    def bytes(self) -> int:
        """Of memory."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.own, self.cross, self.bias))


class SharedCache:
    """The main's cache, which engines of one main share. A larger one replaces it, and makes graphs invalid."""

    def __init__(self) -> None:
        self.cache: KVCache | None = None

    def grow(self, main: "Decoder", capacity: int, frames: int, forget: Callable[[], None]) -> KVCache:
        """The cache, of at least so many rows and frames. `forget` lets go of the old one before a larger one is
        made."""
        if self.cache is None or self.cache.capacity < capacity:
            frames = frames if self.cache is None else max(frames, self.cache.frames)
            forget()
            self.cache = None
            self.cache = KVCache(main, capacity, frames)
        if self.cache.frames < frames:
            self.cache.widen(frames)
        return self.cache
