"""Exact greedy and speculative decoding over Hugging Face Whisper weights, for ragged batches."""

from ..errors import InputError
from .acceptance import DRAFT_LENGTHS, Acceptance, Match, acceptances, accepted_per_round, agreement, pooled
from .checks import checked_options
from .decoder import Decoder
from .draft_length import LONGEST, Costs, between, blend, predicted_speedup
from .encoders import encode
from .engine import Engine
from .linear import Packed, plain, twin
from .logits_rules import History, Rules
from .options import Decoded, Options, Round
from .special_tokens import TIMESTAMPS, SpecialTokens

__all__ = [
    "DRAFT_LENGTHS",
    "LONGEST",
    "TIMESTAMPS",
    "Acceptance",
    "Costs",
    "Decoded",
    "Decoder",
    "Engine",
    "History",
    "InputError",
    "Match",
    "Options",
    "Packed",
    "Round",
    "Rules",
    "SpecialTokens",
    "acceptances",
    "accepted_per_round",
    "agreement",
    "between",
    "blend",
    "checked_options",
    "encode",
    "plain",
    "pooled",
    "predicted_speedup",
    "twin",
]
