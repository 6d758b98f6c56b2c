"""Exact greedy and speculative decoding over Hugging Face Whisper weights, for ragged batches."""

from ..errors import InputError
from .acceptance import (
    DRAFT_LENGTHS,
    Acceptance,
    TokenMatches,
    TokenRanks,
    acceptances,
    accepted_per_round,
    accepted_per_tree,
    agreement,
    pooled,
    tree_acceptance,
)
from .best_tree import RatedTree, best_tree, grown_trees, rate, trees_to_offer
from .checks import checked_options
from .decoder import Decoder
from .draft_length import LONGEST, Costs, Times, between, blend, predicted_speedup
from .encoders import encode, encode_each
from .engine import Engine
from .fused_encoder import for_inference
from .linear import Packed, unpacked, with_packed_linears
from .logits_rules import LogitsRules, TokenHistory
from .options import Decoded, Options, Round
from .short_windows import (
    FEATURE_FRAMES,
    FRAME_BUCKET,
    FRAMES_PER_SECOND,
    bucketed,
    coarse,
    encoder_states,
    shortened,
    window_frames,
    with_margin,
)
from .special_tokens import TIMESTAMPS, SpecialTokens
from .tree import DraftTree

__all__ = [
    "DRAFT_LENGTHS",
    "FEATURE_FRAMES",
    "FRAMES_PER_SECOND",
    "FRAME_BUCKET",
    "LONGEST",
    "TIMESTAMPS",
    "Acceptance",
    "Costs",
    "Decoded",
    "Decoder",
    "DraftTree",
    "Engine",
    "InputError",
    "LogitsRules",
    "Options",
    "Packed",
    "RatedTree",
    "Round",
    "SpecialTokens",
    "Times",
    "TokenHistory",
    "TokenMatches",
    "TokenRanks",
    "acceptances",
    "accepted_per_round",
    "accepted_per_tree",
    "agreement",
    "best_tree",
    "between",
    "blend",
    "bucketed",
    "checked_options",
    "coarse",
    "encode",
    "encode_each",
    "encoder_states",
    "for_inference",
    "grown_trees",
    "pooled",
    "predicted_speedup",
    "rate",
    "shortened",
    "tree_acceptance",
    "trees_to_offer",
    "unpacked",
    "window_frames",
    "with_margin",
    "with_packed_linears",
]
