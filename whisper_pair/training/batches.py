"""Windows with their target tokens -> training batches -> encoder states on the device.

Labels are padded to the longest of the batch, never to 448. Loader workers read from disk: the audio, or encoder states
that are cached. Spectrogram and encoder run on the device.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..audio import LogMel, spec_augment
from ..config import SpecAugment
from ..data import Window
from ..decoding import encoder_states, shortened
from ..errors import InputError
from .encoder_cache import EncoderCache
from .losses import IGNORE
from .short_steps import Draw

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder


@dataclass(frozen=True)
class Example:
    """A window, and the tokens that the decoder is to predict in it."""

    window: Window
    tokens: tuple[int, ...]  # prefix, text and end-of-text
    prefix: int  # how many of them are given, not predicted


@dataclass(frozen=True)
class LoadedExample:
    """An example with what was read from disk for it: its encoder states if they are cached, otherwise its audio."""

    example: Example
    sample: int  # the example's number
    seed: int  # of its augmentation
    states: Tensor | None  # [frames, width]
    pcm: np.ndarray | None  # [samples], int16 at 16 kHz
    frames: int | None = None  # encoder frames of its window; None: the full window


@dataclass(frozen=True)
class AudioBatch:
    """The audio of a batch. Its rows are those with cached states and those still to be encoded."""

    waves: Tensor  # [rows to encode, samples of the longest], float32 at 16 kHz
    states: Tensor | None  # [cached rows, frames, width]; None: no row is cached
    cached: tuple[int, ...]  # which rows have states
    uncached: tuple[int, ...]  # which rows are to be encoded
    samples: tuple[int, ...]  # [rows]: numbers of the examples, by which states are cached
    seeds: tuple[int, ...] = ()  # [rows]: of the augmentation; needed only by those who augment
    frames: int | None = None  # encoder frames of all its windows; None: full windows

    @classmethod
    def to_encode(cls, waves: Tensor, samples: Sequence[int]) -> "AudioBatch":
        """A batch of which nothing is cached. waves [rows, samples]"""
        return cls(waves, None, (), tuple(range(len(samples))), tuple(samples))


@dataclass(frozen=True)
class Batch:
    """A micro-batch of the training loop."""

    inputs: Tensor  # [rows, longest]: what the decoder is given
    labels: Tensor  # [rows, longest]: what it is to predict; IGNORE where nothing counts
    tokens: int  # how many labels count
    names: tuple[str, ...]  # [rows]: of the windows
    audio: AudioBatch


class Batches:
    """Loads examples by number and joins them; both methods run in loader workers."""

    def __init__(self, examples: Sequence[Example], log_mel: LogMel, cache: EncoderCache | None = None):
        self.examples, self.log_mel, self.cache = examples, log_mel, cache

    def load(self, draw: Draw) -> LoadedExample | None:
        """One example, or None where its audio cannot be read."""
        sample, seed, frames = draw
        example = self.examples[sample]
        if self.cache is not None and (states := self.cache.read(sample)) is not None:
            return LoadedExample(example, sample, seed, states, None, frames)
        try:
            return LoadedExample(example, sample, seed, None, example.window.pcm()[: self.log_mel.samples], frames)
        except InputError as error:
            logger.warning("skipped: %s", error)
            return None

    def collate(self, loaded: Sequence[LoadedExample | None]) -> Batch:
        """The examples' windows must be of one length. Raises InputError where no example could be read."""
        items = [item for item in loaded if item is not None]
        if not items:
            raise InputError("No audio of a whole batch could be read; see the clips named above.")
        inputs, labels = padded_tokens([item.example for item in items])
        known = {row: item.states for row, item in enumerate(items) if item.states is not None}
        audio = AudioBatch(
            waves=self.log_mel.pad([item.pcm for item in items if item.pcm is not None]),
            states=torch.stack(list(known.values())) if known else None,
            cached=tuple(known),
            uncached=tuple(row for row in range(len(items)) if row not in known),
            samples=tuple(item.sample for item in items),
            seeds=tuple(item.seed for item in items),
            frames=items[0].frames,
        )
        names = tuple(item.example.window.name for item in items)
        return Batch(inputs, labels, int((labels != IGNORE).sum()), names, audio)


def padded_tokens(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """The decoder's inputs and labels, both [rows, longest]: each label is the token after its input."""
    longest = max(len(example.tokens) for example in examples) - 1
    inputs = torch.zeros(len(examples), longest, dtype=torch.long)
    labels = torch.full((len(examples), longest), IGNORE)
    for row, example in enumerate(examples):
        tokens, prefix = torch.tensor(example.tokens), example.prefix
        inputs[row, : len(tokens) - 1] = tokens[:-1]
        labels[row, prefix - 1 : len(tokens) - 1] = tokens[prefix:]
    return inputs, labels


class FrozenEncoder:
    """Runs a frozen encoder over a batch, in the encoder's own precision, and caches what it computes."""

    def __init__(
        self,
        encoder: "WhisperEncoder",
        log_mel: LogMel,
        augment: SpecAugment | None = None,
        cache: EncoderCache | None = None,
        rounding: torch.dtype | None = None,
    ):
        """`rounding`: the type that states are rounded to, cached or not; None: only what is cached is rounded."""
        self.encoder, self.log_mel, self.augment, self.cache = encoder, log_mel, augment, cache
        self.rounding = rounding

    def features(self, audio: AudioBatch, device: torch.device) -> Tensor:
        """Log-mel spectrograms [rows to encode, mel, frames], masked where the configuration asks for it.

        Those of short windows are the beginnings of full ones, masks included.
        """
        mel = self.log_mel(audio.waves.to(device, non_blocking=True))
        if self.augment is not None:
            seeds = [audio.seeds[row] for row in audio.uncached]
            mel = torch.stack([spec_augment(m, self.augment, seed) for m, seed in zip(mel, seeds, strict=True)])
        return mel if audio.frames is None else shortened(mel, audio.frames)

    @torch.no_grad()
    def states(self, audio: AudioBatch, device: torch.device, exact: bool = False) -> Tensor:
        """[rows, frames, width]. `exact`: what is computed now is cached rounded and returned as it was."""
        fresh = self._computed(audio, device, exact) if audio.uncached else None
        if audio.states is None:
            assert fresh is not None  # a batch has rows
            return fresh
        stored = audio.states.to(device, non_blocking=True)
        if fresh is None:
            return stored.to(self.encoder.layer_norm.weight.dtype)
        out = fresh.new_empty(len(audio.samples), *fresh.shape[1:])
        out[list(audio.cached)], out[list(audio.uncached)] = stored.to(fresh.dtype), fresh
        return out

    def _computed(self, audio: AudioBatch, device: torch.device, exact: bool) -> Tensor:
        features = self.features(audio, device).to(self.encoder.conv1.weight.dtype)
        states = encoder_states(self.encoder, features)
        self._keep([audio.samples[row] for row in audio.uncached], states, exact)
        return states

    def _keep(self, samples: Sequence[int], states: Tensor, exact: bool) -> None:
        """Writes states [rows, frames, width] to the cache; rounds them in place, unless they are to stay `exact`."""
        dtype = self.rounding if self.cache is None else self.cache.dtype
        if dtype is None:
            return
        for sample, window in zip(samples, states, strict=True):  # one by one: a batch's memory is paged in again
            rounded = window.to(dtype)
            if self.cache is not None:
                self.cache.write(sample, rounded)
            if not exact:  # the first epoch must see the same states as those that read them
                window.copy_(rounded)
