"""From features to encoder states, a batch at a time and only as the engine asks for them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..errors import InputError
from .checks import check_window
from .fused_encoder import for_inference
from .linear import at_once
from .rows import Row
from .short_windows import encoder_states, stride_of

if TYPE_CHECKING:
    from .own_encoder import OwnEncoder

Windows = Tensor | Iterable[Tensor]
Prompts = Sequence[Sequence[int] | None] | None  # previous text, one a window


class Encoders:
    """The main's encoder, and the draft's where it has its own, each as `encode` takes it."""

    def __init__(self, main: WhisperEncoder, draft: WhisperEncoder | None, compile: bool = False):
        self.main = for_inference(main, compile)
        self.draft = None if draft is None else for_inference(draft, compile)
        frames, self.stride = main.config.max_source_positions, stride_of(main)
        self.frames = frames  # of a full window; one may have fewer
        self.shapes = {
            "features": (main.config.num_mel_bins, frames * self.stride),
            "encoder states": (frames, main.config.d_model),
            "draft states": (frames, main.config.d_model if draft is None else draft.config.d_model),
        }

    def check(
        self, features: Windows | None, states: Windows | None, draft_states: Windows | None, prompts: Prompts
    ) -> None:
        """Raises InputError. What is in memory is checked before anything is encoded; an iterator, as it is drawn."""
        if (features is None) == (states is None):
            raise InputError("give either features or encoder_states, and not both")
        count = None
        for what, given in (("features", features), ("encoder states", states), ("draft states", draft_states)):
            if not isinstance(given, Tensor | list | tuple):
                continue
            if len(given) == 0:
                raise InputError("there are no windows to decode: give at least one")
            if count is not None and len(given) != count:
                raise InputError(f"there are {len(given)} {what} for {count} windows: give one each")
            count = len(given)
            for index, window in enumerate(given):
                self._check_window(window, index, what)
        if prompts and count is not None and len(prompts) != count:
            raise InputError(f"there are {len(prompts)} prompts for {count} windows: give one each, None for none")

    def _check_window(self, window: Tensor, index: int, what: str) -> None:
        step = self.stride if what == "features" else 1
        check_window(window, index, self.shapes[what], what, step)

    def longest(self, features: Windows | None, states: Windows | None) -> int:
        """Frames of the longest window, as far as it is known before windows are drawn; otherwise 0."""
        known: list[int] = [0]
        if isinstance(features, Tensor | list | tuple):
            known = [window.shape[-1] // self.stride for window in features]
        elif isinstance(states, Tensor | list | tuple):
            known = [len(window) for window in states]
        return max(known)

    def rows_of_features(
        self, features: Windows, prompts: Prompts, batch_size: int, drafting: bool, own: "OwnEncoder | None"
    ) -> Iterator[Row]:
        """Rows of windows [mel, 2 F], encoded a batch at a time. `own` says whether the draft's encoder is used."""
        for indices, batch in self._drawn(features, "features", batch_size):
            if own is not None:
                states, others = own.encode(batch)
            else:
                states = encode_each(self.main, batch)
                others = encode_each(self.draft, batch) if drafting and self.draft is not None else states
            for slot, (index, one) in enumerate(zip(indices, states, strict=True)):
                row = Row(index, prompt_of(prompts, index), one, one if others is None else others[slot])
                row.drafts = others is not None
                row.features = batch[slot] if own is not None and own.used is not False else None
                yield row

    def rows_of_states(
        self, states: Windows, draft_states: Windows | None, prompts: Prompts, batch_size: int
    ) -> Iterator[Row]:
        """Rows of encoder states [F, d]."""
        device = self.main.conv1.weight.device
        others = None if draft_states is None else self._drawn(draft_states, "draft states", batch_size)
        for indices, batch in self._drawn(states, "encoder states", batch_size):
            batch = [one.to(device) for one in batch]
            own = batch if others is None else [one.to(device) for one in next(others)[1]]
            for index, one, other in zip(indices, batch, own, strict=True):
                if len(one) != len(other):
                    raise InputError(
                        f"window {index}: encoder states are of {len(one)} frames and draft states of {len(other)}: "
                        "encode the same features for both"
                    )
                yield Row(index, prompt_of(prompts, index), one, other)

    def _drawn(self, windows: Windows, what: str, batch_size: int) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Batches of windows and their indices."""
        source = enumerate(windows)
        while batch := list(islice(source, batch_size)):
            if not isinstance(windows, Tensor | list | tuple):
                for index, window in batch:
                    self._check_window(window, index, what)
            yield [index for index, _ in batch], [window for _, window in batch]


def prompt_of(prompts: Prompts, index: int) -> Sequence[int] | None:
    """The previous text of a window. Raises InputError where there are fewer prompts than windows."""
    if not prompts:
        return None
    if index >= len(prompts):
        raise InputError(f"there are {len(prompts)} prompts and at least {index + 1} windows: give one each")
    return prompts[index]


@torch.no_grad()
def encode(encoder: WhisperEncoder, windows: Sequence[Tensor] | Tensor) -> Tensor:
    """Windows [mel, 2 F] of one length, full or shorter -> encoder states [n, F, d]. `encoder`: one of an engine's, or
    any in eval mode."""
    weight = encoder.conv1.weight
    batch = torch.stack(list(windows)).to(weight.device, weight.dtype)
    size = at_once(batch)
    return torch.cat([encoder_states(encoder, batch[at : at + size]) for at in range(0, len(batch), size)])


def encode_each(encoder: WhisperEncoder, windows: Sequence[Tensor]) -> list[Tensor]:
    """Windows [mel, 2 F] of any lengths -> encoder states [F, d] of each. Those of one length are encoded together."""
    alike: dict[int, list[int]] = defaultdict(list)
    for number, window in enumerate(windows):
        alike[window.shape[-1]].append(number)
    found: dict[int, Tensor] = {}
    for numbers in alike.values():
        found |= zip(numbers, encode(encoder, [windows[number] for number in numbers]), strict=True)
    return [found[number] for number in range(len(windows))]
