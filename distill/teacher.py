"""Teacher targets: the main's distribution at each token of its own transcripts, computed or read from disk.

Main and labels are fixed, so its distribution is a function of the window. `distill.teacher_tokens` says how much of it
the student learns from, and so what is cached of each token: the hidden state before the head, which gives all of it
(large-v3, half precision: 2.6 kB), or the k most likely tokens and the mass of the others (32: 0.2 kB; TopKTeacher says
what that loses). Computed or read, targets are rounded alike, so that the cache changes no loss.
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
from whisper_pair.training.losses import CHUNK, IGNORE, TeacherTargets, TopKTeacher, WholeTeacher

DTYPES = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}


def teacher_fields(settings: Distill, width: int) -> dict[str, tuple[str, int]]:
    """What is cached of each token: name -> torch's name of the type, numbers a token.

    `width`: of the main's hidden states.
    """
    dtype, k = DTYPES[settings.cache_dtype], settings.teacher_tokens
    if k == "all":
        return {"hidden": (dtype, width)}
    return {"ids": ("int32", k), "log_probabilities": (dtype, k), "rest": ("float32", 2)}


def teacher_cache(
    folder: Path, examples: Sequence[Example], settings: Distill, width: int, about: dict[str, Any]
) -> WindowCache:
    """A cache with one entry an example: the targets of each token that is predicted."""
    lengths = [len(example.tokens) - example.prefix for example in examples]
    labels = digest_of([[example.tokens, example.prefix] for example in examples])
    softened = {} if settings.teacher_tokens == "all" else {"temperature": settings.losses.temperature}
    return WindowCache(folder, teacher_fields(settings, width), lengths, about | {"labels": labels} | softened)


def digest_of(value: Any) -> str:
    """SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


class Teacher:
    """The main, as far as DistillationLoss learns from it."""

    def __init__(self, main: Any, settings: Distill, cache: WindowCache | None = None):
        self.main, self.settings, self.cache = main, settings, cache

    @torch.no_grad()
    def targets(self, audio_features: Tensor, inputs: Tensor, labels: Tensor, samples: Sequence[int]) -> TeacherTargets:
        """The targets of the counted tokens, row by row.

        audio_features [rows, frames, width]; inputs, labels [rows, tokens]; samples: the rows' numbers in the cache.
        """
        entries = {row: entry for row, sample in enumerate(samples) if (entry := self._cached(sample)) is not None}
        new = [row for row in range(len(samples)) if row not in entries]
        if new:
            for row, entry in zip(new, self._computed(audio_features[new], inputs[new], labels[new]), strict=True):
                if self.cache is not None:
                    self.cache.write(samples[row], entry)
                entries[row] = entry
        ordered, device = [entries[row] for row in range(len(samples))], inputs.device
        with torch.autocast(device.type, enabled=False):  # it would have torch.cat change the types
            columns = {
                name: torch.cat([entry[name].to(device, non_blocking=True) for entry in ordered]) for name in ordered[0]
            }
        if "hidden" in columns:
            return WholeTeacher(columns["hidden"], self.main.proj_out.weight)
        return TopKTeacher(**columns, temperature=self.settings.losses.temperature)

    def _cached(self, sample: int) -> dict[str, Tensor] | None:
        return None if self.cache is None else self.cache.read(sample)

    def _computed(self, audio_features: Tensor, inputs: Tensor, labels: Tensor) -> Iterator[dict[str, Tensor]]:
        """What is cached of each row's counted tokens, in the types of `teacher_fields`."""
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
        """The tensors of TopKTeacher, by name, of hidden states [tokens, width]."""
        temperature = self.settings.losses.temperature
        parts = [
            TopKTeacher.of(
                F.log_softmax(F.linear(some, self.main.proj_out.weight).float(), dim=-1), k, temperature
            ).rows
            for some in hidden.split(CHUNK)
        ]
        ids, log_probabilities, rest = (torch.cat(column) for column in zip(*parts, strict=True))
        return {"ids": ids, "log_probabilities": log_probabilities, "rest": rest}
