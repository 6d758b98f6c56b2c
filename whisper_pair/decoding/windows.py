"""From features to encoder states, a batch at a time and only as the engine asks for them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..errors import InputError
from .checks import check_window
from .rows import Row


class Encoders:
    """The main's encoder, and the draft's where it has its own."""

    def __init__(self, main: WhisperEncoder, draft: WhisperEncoder | None):
        self.main, self.draft = main, draft
        self.run_main, self.run_draft = main, draft
        self.frames, self.width = main.config.max_source_positions, main.config.d_model
        self.feature_shape = (main.config.num_mel_bins, self.frames * main.conv1.stride[0] * main.conv2.stride[0])

    def compile(self) -> None:
        self.run_main = torch.compile(self.main, dynamic=False)
        self.run_draft = None if self.draft is None else torch.compile(self.draft, dynamic=False)

    def rows_of_features(self, features: Iterable[Tensor], prompts: Sequence, batch_size: int) -> Iterator[Row]:
        for indices, batch in checked(features, self.feature_shape, "features", batch_size):
            states = encode(self.main, batch, self.run_main)
            own = [None] * len(indices) if self.draft is None else encode(self.draft, batch, self.run_draft)
            for index, one, other in zip(indices, states, own, strict=True):
                yield Row(index, prompt_of(prompts, index), one, other)

    def rows_of_states(
        self, states: Iterable[Tensor], draft_states: Iterable[Tensor] | None, prompts: Sequence, batch_size: int
    ) -> Iterator[Row]:
        rows = checked(states, (self.frames, self.width), "encoder states", batch_size)
        if draft_states is None:
            for indices, batch in rows:
                for index, one in zip(indices, batch, strict=True):
                    yield Row(index, prompt_of(prompts, index), one.to(self.main.conv1.weight.device), None)
            return
        own = checked(draft_states, (self.frames, self.draft.config.d_model), "draft's encoder states", batch_size)
        for (indices, batch), (_, others) in zip(rows, own, strict=True):
            for index, one, other in zip(indices, batch, others, strict=True):
                device = self.main.conv1.weight.device
                yield Row(index, prompt_of(prompts, index), one.to(device), other.to(device))


def prompt_of(prompts: Sequence, index: int):
    return prompts[index] if prompts else None


def checked(
    windows: Iterable[Tensor], shape: Sequence[int], what: str, batch_size: int
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Batches of windows and their indices; each window is checked when it is drawn."""
    drawn = enumerate(windows)
    while batch := list(islice(drawn, batch_size)):
        for index, window in batch:
            check_window(window, index, shape, what)
        yield [index for index, _ in batch], [window for _, window in batch]


def encode(encoder: WhisperEncoder, windows: Sequence[Tensor], run: Callable | None = None) -> Tensor:
    """[mel, frames] each -> states [n, F, d], without dropout, whatever mode the module is in.

    run: the encoder as it was compiled, if it was.
    """
    weight = encoder.conv1.weight
    batch = torch.stack(list(windows)).to(weight.device, weight.dtype)
    training = encoder.training
    encoder.eval()
    try:
        return (encoder if run is None else run)(batch).last_hidden_state
    finally:
        encoder.train(training)


def require_windows(features: Tensor | Iterable[Tensor] | None, states: Tensor | Iterable[Tensor] | None) -> None:
    if (features is None) == (states is None):
        raise InputError("give either features or encoder_states, and not both")
    given = features if states is None else states
    if isinstance(given, Tensor | list | tuple) and len(given) == 0:
        raise InputError("there are no windows to decode: give at least one")
