"""Exact greedy and speculative decoding over Hugging Face Whisper weights, for ragged batches."""

from ..errors import InputError
from .acceptance import DRAFT_LENGTHS, Acceptance, TokenMatches, acceptances, accepted_per_round, agreement, pooled
from .checks import checked_options
from .decoder import Decoder
from .draft_length import LONGEST, Costs, between, blend, predicted_speedup
from .encoders import encode
from .engine import Engine
from .fused_encoder import for_inference
from .linear import Packed, unpacked, with_packed_linears
from .logits_rules import LogitsRules, TokenHistory
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
    "InputError",
    "LogitsRules",
    "Options",
    "Packed",
    "Round",
    "SpecialTokens",
    "TokenHistory",
    "TokenMatches",
    "acceptances",
    "accepted_per_round",
    "agreement",
    "between",
    "blend",
    "checked_options",
    "encode",
    "for_inference",
    "pooled",
    "predicted_speedup",
    "unpacked",
    "with_packed_linears",
]
