"""Exact greedy and speculative decoding over Hugging Face Whisper weights, for ragged batches."""

from ..errors import InputError
from .acceptance import Acceptance, Match, acceptances, agreement, pooled
from .draft_length import Costs, predicted_speedup
from .engine import Engine
from .options import Decoded, Options, Round

__all__ = [
    "Acceptance",
    "Costs",
    "Decoded",
    "Engine",
    "InputError",
    "Match",
    "Options",
    "Round",
    "acceptances",
    "agreement",
    "pooled",
    "predicted_speedup",
]
