"""Validation while training: transcripts of clips with human text by our engine, and their error rates.

With a frozen encoder the clips' encoder states never change, so they are cached.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..audio import LogMel
from ..config import Config
from ..decoding import Decoded, Engine, Options, encode_each, for_inference, shortened, window_frames
from ..text import ErrorRate, Normalizer, error_rates, pooled, text_of
from .encoder_cache import EncoderCache

ENCODE_AT_ONCE = 8  # clips


class ReadableClip(Protocol):
    """A clip, or several that are read like one."""

    @property
    def name(self) -> str:
        """The clip's name."""

    @property
    def text(self) -> str | None:
        """The human text."""

    @property
    def seconds(self) -> float:
        """Its length."""

    def read(self) -> np.ndarray:
        """Samples at 16 kHz, [n]."""


class Validator:
    """Decodes a fixed set of clips."""

    def __init__(
        self,
        clips: Sequence[ReadableClip],
        log_mel: LogMel,
        tokenizer: Any,
        config: Config,
        states_folder: Path | None = None,
        margin: float | None = None,
    ):
        """`states_folder`: where to cache encoder states; None where the encoder changes between calls. `margin`:
        seconds from the end of a clip to the end of its window; None: full windows."""
        self.clips, self.log_mel, self.tokenizer, self.config = clips, log_mel, tokenizer, config
        self.states_folder, self.margin = states_folder, margin
        self.normalizer = Normalizer.of(config.text_language, tokenizer)

    def options(self) -> Options:
        """Plain greedy decoding in the configured language and task."""
        return Options(language=self.config.language, task=self.config.task, draft_tokens=0, batch_size=16)

    def frames(self, model: Any) -> list[int]:
        """Encoder frames of each clip's window."""
        full = model.config.max_source_positions
        return [window_frames(clip.seconds, self.margin, full) for clip in self.clips]

    def states(self, model: Any, rows: Sequence[int]) -> list[Tensor]:
        """Encoder states [frames, width] of some clips, by their numbers."""
        device, frames = model.device, self.frames(model)
        cache = None
        if self.states_folder is not None:
            cache = EncoderCache(self.states_folder, len(self.clips), frames, model.config.d_model)
        stored = {row: cache.read(row) for row in rows} if cache is not None else {}
        found: dict[int, Tensor] = {row: states for row, states in stored.items() if states is not None}
        missing = sorted((row for row in rows if row not in found), key=lambda row: frames[row])
        if missing:
            encoder: Any = for_inference(model.model.encoder)
        for start in range(0, len(missing), ENCODE_AT_ONCE):
            some = missing[start : start + ENCODE_AT_ONCE]
            features = self.log_mel.features([self.clips[row].read() for row in some], device)
            windows = [shortened(window, frames[row]) for row, window in zip(some, features, strict=True)]
            for row, states in zip(some, encode_each(encoder, windows), strict=True):
                found[row] = states if cache is None else states.to(cache.dtype)  # as it will be read
                if cache is not None:
                    cache.write(row, found[row])
        return [found[row].to(device, model.dtype) for row in rows]

    def transcribe(self, model: Any, rows: Sequence[int]) -> list[Decoded]:
        """The model's transcripts of some clips, by their numbers."""
        return Engine(model).decode(encoder_states=self.states(model, rows), options=self.options())

    def error_rates(self, model: Any, process: int = 0, processes: int = 1) -> ErrorRate:
        """Pooled over this process's share of the clips."""
        rows = list(range(process, len(self.clips), processes))
        if not rows:
            return ErrorRate(0, 0)
        decoded = self.transcribe(model, rows)
        texts = [text_of(self.tokenizer, row.tokens) for row in decoded]
        references = [self.clips[row].text or "" for row in rows]
        return pooled(error_rates(references, texts, self.config.text_language, self.normalizer))


def pooled_over_processes(accelerator, rate: ErrorRate) -> ErrorRate:
    """Counts are added up over processes, never rates."""
    counts = torch.tensor([rate.errors, rate.length], device=accelerator.device)
    errors, length = accelerator.reduce(counts, reduction="sum").tolist()
    return ErrorRate(errors, length)
