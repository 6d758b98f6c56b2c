"""The main looking on: what it holds likely at each token of its own transcripts, computed or read from disk.

Main and labels are fixed, so its distribution is a function of the window. The cache keeps its k likeliest tokens and
the mass that remains (k = 32 in half precision: 0.2 kB a token); what that loses stands at whisper_pair.losses.TopK.
The first epoch trains on what it has just written, so that all epochs see the same.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from whisper_pair.batches import Example
from whisper_pair.cache import WindowCache
from whisper_pair.losses import CHUNK, IGNORE, TopK

DTYPES = {"fp16": "float16", "fp32": "float32"}


def teacher_cache(folder: Path, examples: Sequence[Example], k: int, dtype: str, about: dict[str, Any]) -> WindowCache:
    """One entry an example: ids, log-probabilities and the remaining mass of each token that is predicted."""
    fields = {"ids": ("int32", k), "log_probabilities": (DTYPES[dtype], k), "rest": ("float32", 1)}
    lengths = [len(example.tokens) - example.prefix for example in examples]
    said = digest_of([[example.tokens, example.prefix] for example in examples])
    return WindowCache(folder, fields, lengths, about | {"labels": said})


def digest_of(value: Any) -> str:
    """Of what JSON can hold."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


class Teacher:
    """Gives DistillationLoss what it must know of the main's distribution."""

    def __init__(self, main, cache: WindowCache | None = None):
        self.main, self.cache = main, cache

    @torch.no_grad()
    def knows(self, heard: Tensor, inputs: Tensor, labels: Tensor, samples: Sequence[int]) -> dict[str, Tensor]:
        """heard [rows, frames, width]; inputs, labels [rows, tokens]; samples: the rows' numbers in the cache.

        Returns what Whole or TopK holds of the counted tokens, row by row.
        """
        if self.cache is None:
            return {"hidden": self._hidden(heard, inputs)[labels != IGNORE]}
        stored = [self.cache.read(sample) for sample in samples]
        new = [row for row, entry in enumerate(stored) if entry is None]
        if new:
            for row, entry in zip(new, self._computed(heard[new], inputs[new], labels[new]), strict=True):
                self.cache.write(samples[row], entry)
                stored[row] = entry
        device = inputs.device
        joined = {  # by numpy: autocast would have torch.cat change the types
            name: torch.from_numpy(np.concatenate([entry[name] for entry in stored])).to(device, non_blocking=True)
            for name in self.cache.fields
        }
        return joined | {"rest": joined["rest"][:, 0]}

    def _hidden(self, heard: Tensor, inputs: Tensor) -> Tensor:
        decoder = self.main.model.decoder
        return decoder(input_ids=inputs, encoder_hidden_states=heard, use_cache=False).last_hidden_state

    def _computed(self, heard: Tensor, inputs: Tensor, labels: Tensor) -> Iterator[dict[str, Any]]:
        """The entries of some rows, in the cache's own precision."""
        counted = labels != IGNORE
        k = self.cache.fields["ids"][1]
        parts = [
            TopK.of(F.log_softmax(F.linear(hidden, self.main.proj_out.weight).float(), dim=-1), k)
            for hidden in self._hidden(heard, inputs)[counted].split(CHUNK)
        ]
        columns = {
            "ids": torch.cat([part.ids for part in parts]),
            "log_probabilities": torch.cat([part.log_probabilities for part in parts]),
            "rest": torch.cat([part.rest for part in parts])[:, None],
        }
        at_host = {name: column.cpu().numpy().astype(self.cache.fields[name][0]) for name, column in columns.items()}
        start = 0
        for count in counted.sum(1).tolist():
            yield {name: column[start : start + count] for name, column in at_host.items()}
            start += count
