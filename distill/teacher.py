"""The main looking on: what it holds likely at each token of its own transcripts, computed or read from disk.

Main and labels are fixed, so its distribution is a function of the window. `distill.teacher_tokens` says how much of it
the student learns from, and so what is kept of each token: the hidden state before the head, which gives all of it
(large-v3, half precision: 2.6 kB), or the k likeliest tokens and the mass of the others (32: 0.2 kB; what that loses
stands at whisper_pair.losses.TopK). Computed or read, it is rounded alike, so that the cache changes no loss.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_pair.config import Distill
from whisper_pair.training import Example, WindowCache
from whisper_pair.training.losses import CHUNK, IGNORE, TopKTeacher

DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}


def teacher_fields(settings: Distill, width: int) -> dict[str, tuple[str, int]]:
    """What is known of a token: name -> type, numbers. `width`: of the main's hidden states."""
    dtype, k = DTYPES[settings.cache_dtype], settings.teacher_tokens
    if k == "all":
        return {"hidden": (dtype, width)}
    return {"ids": ("int32", k), "log_probabilities": (dtype, k), "rest": ("float32", 2)}


def teacher_cache(
    folder: Path, examples: Sequence[Example], settings: Distill, width: int, about: dict[str, Any]
) -> WindowCache:
    """One entry an example: what is known of each token that is predicted."""
    lengths = [len(example.tokens) - example.prefix for example in examples]
    said = digest_of([[example.tokens, example.prefix] for example in examples])
    softened = {} if settings.teacher_tokens == "all" else {"temperature": settings.losses.temperature}
    return WindowCache(folder, teacher_fields(settings, width), lengths, about | {"labels": said} | softened)


def digest_of(value: Any) -> str:
    """Of what JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


class Teacher:
    """Gives DistillationLoss what it must know of the main's distribution."""

    def __init__(self, main, settings: Distill, cache: WindowCache | None = None):
        self.main, self.settings, self.cache = main, settings, cache

    @torch.no_grad()
    def knows(
        self, audio_features: Tensor, inputs: Tensor, labels: Tensor, samples: Sequence[int]
    ) -> dict[str, Tensor]:
        """audio_features [rows, frames, width]; inputs, labels [rows, tokens]; samples: the rows' numbers in the cache.

        Returns what Whole or TopK holds of the counted tokens, row by row.
        """
        stored = [None if self.cache is None else self.cache.read(sample) for sample in samples]
        new = [row for row, entry in enumerate(stored) if entry is None]
        if new:
            for row, entry in zip(new, self._computed(audio_features[new], inputs[new], labels[new]), strict=True):
                if self.cache is not None:
                    self.cache.write(samples[row], entry)
                stored[row] = entry
        device = inputs.device
        with torch.autocast(device.type, enabled=False):  # it would have torch.cat change the types
            return {
                name: torch.cat([entry[name].to(device, non_blocking=True) for entry in stored]) for name in stored[0]
            }

    def _computed(self, audio_features: Tensor, inputs: Tensor, labels: Tensor) -> Iterator[dict[str, Tensor]]:
        """What is known of each row's counted tokens, in the types of `teacher_fields`."""
        counted = labels != IGNORE
        decoder = self.main.model.decoder
        hidden = decoder(input_ids=inputs, encoder_hidden_states=audio_features, use_cache=False).last_hidden_state[
            counted
        ]
        k = self.settings.teacher_tokens
        columns = {"hidden": hidden} if k == "all" else self._likeliest(hidden, k)
        fields = teacher_fields(self.settings, hidden.shape[-1])
        columns = {name: column.to(getattr(torch, fields[name][0])) for name, column in columns.items()}
        rows = zip(*(column.split(counted.sum(1).tolist()) for column in columns.values()), strict=True)
        return (dict(zip(columns, row, strict=True)) for row in rows)

    def _likeliest(self, hidden: Tensor, k: int) -> dict[str, Tensor]:
        """The columns of TopK, of hidden states [tokens, width]."""
        temperature = self.settings.losses.temperature
        parts = [
            TopKTeacher.of(
                F.log_softmax(F.linear(some, self.main.proj_out.weight).float(), dim=-1), k, temperature
            ).rows
            for some in hidden.split(CHUNK)
        ]
        ids, log_probabilities, rest = (torch.cat(column) for column in zip(*parts, strict=True))
        return {"ids": ids, "log_probabilities": log_probabilities, "rest": rest}
