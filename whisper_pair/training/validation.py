"""What a model hears in clips with human text: transcripts by our engine and their error rates.

Used to validate while training. With a frozen encoder the clips' encoder states are kept, since they never change.
"""

from pathlib import Path

import torch
from torch import Tensor

from ..audio import LogMel
from ..config import Config
from ..data import Clip, features_of
from ..decoding import Decoded, Engine, Options, encode, with_packed_linears
from ..text import ErrorRate, Normalizer, error_rates, pooled, text_of
from .encoder_cache import EncoderCache

ENCODE_AT_ONCE = 8  # clips


class Validator:
    """Decodes a fixed set of clips."""

    def __init__(self, clips: list[Clip], log_mel: LogMel, tokenizer, config: Config, keep: Path | None = None):
        """`keep`: the folder for encoder states, where the encoder is the same at every call."""
        self.clips, self.log_mel, self.tokenizer, self.config, self.keep = clips, log_mel, tokenizer, config, keep
        self.normalizer = Normalizer.of(config.text_language, tokenizer)

    def options(self) -> Options:
        return Options(language=self.config.language, task=self.config.task, draft_tokens=0, batch_size=16)

    def states(self, model, rows: list[int]) -> Tensor:
        """Encoder states of some clips: [clips, frames, width]."""
        device = model.device
        cache = None
        if self.keep is not None:
            shape = (model.config.max_source_positions, model.config.d_model)
            cache = EncoderCache(self.keep, len(self.clips), *shape)
        stored = {row: cache.read(row) for row in rows} if cache is not None else {}
        found: dict[int, Tensor] = {row: states for row, states in stored.items() if states is not None}
        missing = [row for row in rows if row not in found]
        encoder = with_packed_linears(model.model.encoder) if missing else None
        for start in range(0, len(missing), ENCODE_AT_ONCE):
            some = missing[start : start + ENCODE_AT_ONCE]
            fresh = encode(encoder, features_of([self.clips[row] for row in some], self.log_mel, device))
            if cache is not None:  # as they will be read
                fresh = fresh.to(cache.dtype)
            for row, states in zip(some, fresh, strict=True):
                found[row] = states
                if cache is not None:
                    cache.write(row, states)
        return torch.stack([found[row].to(device, model.dtype) for row in rows])

    def transcribe(self, model, rows: list[int]) -> list[Decoded]:
        return Engine(model).decode(encoder_states=self.states(model, rows), options=self.options())

    def error_rates(self, model, process: int = 0, processes: int = 1) -> ErrorRate:
        """Pooled over this process's share of the clips."""
        rows = list(range(process, len(self.clips), processes))
        if not rows:
            return ErrorRate(0, 0)
        decoded = self.transcribe(model, rows)
        texts = [text_of(self.tokenizer, row.tokens) for row in decoded]
        references = [self.clips[row].text for row in rows]
        return pooled(error_rates(references, texts, self.config.text_language, self.normalizer))


def pooled_over_processes(accelerator, rate: ErrorRate) -> ErrorRate:
    """Counts are added up over processes, never rates."""
    counts = torch.tensor([rate.errors, rate.length], device=accelerator.device)
    errors, length = accelerator.reduce(counts, reduction="sum").tolist()
    return ErrorRate(errors, length)
