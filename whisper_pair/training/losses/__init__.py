"""Training losses that never hold [tokens, vocabulary] for more than a chunk of the tokens."""

from .chunks import CHUNK, IGNORE, cross_entropy
from .mix import TopK, Whole, mixed
from .rounds import choices, since_mismatch

__all__ = [
    "CHUNK",
    "IGNORE",
    "TopK",
    "Whole",
    "choices",
    "cross_entropy",
    "mixed",
    "since_mismatch",
]
