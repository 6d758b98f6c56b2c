"""Windows with their target tokens -> training batches -> encoder states on the device.

Labels are padded to the longest of the batch, never to 448. What is read from disk (audio, or states that are known
already) is read by loader workers; spectrogram and encoder run on the device.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..audio import LogMel, spec_augment
from ..config import SpecAugment
from ..data import Window
from ..errors import InputError
from .encoder_cache import EncoderCache
from .losses import IGNORE

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """What the decoder is to say for a window."""

    window: Window
    tokens: tuple[int, ...]  # prefix, text and end-of-text
    prefix: int  # how many of them are given, not predicted


class Batches:
    """Loads examples by number and joins them; both methods run in loader workers."""

    def __init__(self, examples: Sequence[Example], log_mel: LogMel, cache: EncoderCache | None = None):
        self.examples, self.log_mel, self.cache = examples, log_mel, cache

    def load(self, sample: int, seed: int) -> dict[str, Any] | None:
        """One example, or None where its audio cannot be read."""
        example = self.examples[sample]
        item = {"example": example, "sample": sample, "seed": seed, "states": None, "pcm": None}
        if self.cache is not None and (states := self.cache.read(sample)) is not None:
            return item | {"states": states}
        try:
            return item | {"pcm": example.window.pcm()[: self.log_mel.samples]}
        except InputError as error:
            logger.warning("skipped: %s", error)
            return None

    def collate(self, items: list[dict[str, Any] | None]) -> dict[str, Any]:
        """inputs and labels [rows, longest]; waves [rows to encode, samples]; states [known rows, frames, width]"""
        items = [item for item in items if item is not None]
        if not items:
            raise InputError("No audio of a whole batch could be read; see the clips named above.")
        longest = max(len(item["example"].tokens) for item in items) - 1
        inputs = torch.zeros(len(items), longest, dtype=torch.long)
        labels = torch.full((len(items), longest), IGNORE)
        for row, item in enumerate(items):
            tokens, prefix = torch.tensor(item["example"].tokens), item["example"].prefix
            inputs[row, : len(tokens) - 1] = tokens[:-1]
            labels[row, prefix - 1 : len(tokens) - 1] = tokens[prefix:]
        known = [row for row, item in enumerate(items) if item["states"] is not None]
        new = [row for row, item in enumerate(items) if item["states"] is None]
        return {
            "inputs": inputs,
            "labels": labels,
            "tokens": int((labels != IGNORE).sum()),
            "names": [item["example"].window.name for item in items],
            "waves": self.log_mel.pad([items[row]["pcm"] for row in new]),
            "states": torch.stack([items[row]["states"] for row in known]) if known else None,
            "rows": (known, new),
            "samples": [item["sample"] for item in items],
            "seeds": [item["seed"] for item in items],
        }


class FrozenEncoder:
    """Runs a frozen encoder over a batch, in the encoder's own precision, keeping what it computes in the cache."""

    def __init__(
        self,
        encoder,
        log_mel: LogMel,
        augment: SpecAugment | None = None,
        cache: EncoderCache | None = None,
        rounding: torch.dtype | None = None,
    ):
        """`rounding`: what states are rounded to whether they are kept or not; without it only where they are."""
        self.encoder, self.log_mel, self.augment, self.cache = encoder, log_mel, augment, cache
        self.rounding = rounding

    def features(self, batch: dict[str, Any], device) -> Tensor:
        """Log-mel spectrograms [rows to encode, mel, frames], masked where the configuration asks for it."""
        mel = self.log_mel(batch["waves"].to(device, non_blocking=True))
        if self.augment is None:
            return mel
        seeds = [batch["seeds"][row] for row in batch["rows"][1]]
        return torch.stack([spec_augment(m, self.augment, seed) for m, seed in zip(mel, seeds, strict=True)])

    @torch.no_grad()
    def states(self, batch: dict[str, Any], device, exact: bool = False) -> Tensor:
        """[rows, frames, width]. `exact`: what is computed now is kept rounded and returned as it was."""
        known, new = batch["rows"]
        fresh = None
        if new:
            features = self.features(batch, device).to(self.encoder.conv1.weight.dtype)
            fresh = self.encoder(features).last_hidden_state
            self._keep([batch["samples"][row] for row in new], fresh, exact)
        if not known:
            return fresh
        stored = batch["states"].to(device, non_blocking=True)
        if not new:
            return stored.to(self.encoder.layer_norm.weight.dtype)
        out = fresh.new_empty(len(known) + len(new), *fresh.shape[1:])
        out[known], out[new] = stored.to(fresh.dtype), fresh
        return out

    def _keep(self, samples: Sequence[int], states: Tensor, exact: bool) -> None:
        """Writes states [rows, frames, width] to the cache; rounds them in place, unless they are to stay `exact`."""
        dtype = self.rounding if self.cache is None else self.cache.dtype
        if dtype is None:
            return
        for sample, window in zip(samples, states, strict=True):  # one by one: a batch's memory is paged in again
            rounded = window.to(dtype)
            if self.cache is not None:
                self.cache.write(sample, rounded)
            if not exact:  # who meets a window first must see the states that are read again
                window.copy_(rounded)
