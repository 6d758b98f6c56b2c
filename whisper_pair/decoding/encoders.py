"""From features to encoder states, a batch at a time and only as the engine asks for them."""

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

if TYPE_CHECKING:
    from .own_encoder import OwnEncoder

Windows = Tensor | Iterable[Tensor]
Prompts = Sequence[Sequence[int] | None] | None  # previous text, one a window


class Encoders:
    """The main's encoder, and the draft's where it has its own, each as `encode` takes it."""

    def __init__(self, main: WhisperEncoder, draft: WhisperEncoder | None, compile: bool = False):
        self.main = for_inference(main, compile)
        self.draft = None if draft is None else for_inference(draft, compile)
        frames, stride = main.config.max_source_positions, main.conv1.stride[0] * main.conv2.stride[0]
        self.frames = frames
        self.shapes = {
            "features": (main.config.num_mel_bins, frames * stride),
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
                check_window(window, index, self.shapes[what], what)
        if prompts and count is not None and len(prompts) != count:
            raise InputError(f"there are {len(prompts)} prompts for {count} windows: give one each, None for none")

    def rows_of_features(
        self, features: Windows, prompts: Prompts, batch_size: int, drafting: bool, own: "OwnEncoder | None"
    ) -> Iterator[Row]:
        """Rows of windows [mel, frames], encoded a batch at a time. `own` says whether the draft's encoder is used."""
        for indices, batch in self._drawn(features, "features", batch_size):
            if own is not None:
                states, others = own.encode(batch)
            else:
                states = encode(self.main, batch)
                others = encode(self.draft, batch) if drafting and self.draft is not None else states
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
                yield Row(index, prompt_of(prompts, index), one, other)

    def _drawn(self, windows: Windows, what: str, batch_size: int) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Batches of windows and their indices."""
        source = enumerate(windows)
        while batch := list(islice(source, batch_size)):
            if not isinstance(windows, Tensor | list | tuple):
                for index, window in batch:
                    check_window(window, index, self.shapes[what], what)
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
    """Windows [mel, frames] -> encoder states [n, F, d]. `encoder`: one of an engine's, or any in eval mode."""
    weight = encoder.conv1.weight
    batch = torch.stack(list(windows)).to(weight.device, weight.dtype)
    size = at_once(batch)
    return torch.cat([encoder(batch[at : at + size]).last_hidden_state for at in range(0, len(batch), size)])
