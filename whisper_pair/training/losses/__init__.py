"""Training losses that never hold [tokens, vocabulary] for more than a chunk of the tokens."""

from .chunks import CHUNK, IGNORE, SummedLoss, cross_entropy
from .mix import TeacherTargets, TopKTeacher, WholeTeacher, mixed_loss
from .rounds import likeliest_tokens, mismatch_weights

__all__ = [
    "CHUNK",
    "IGNORE",
    "SummedLoss",
    "TeacherTargets",
    "TopKTeacher",
    "WholeTeacher",
    "cross_entropy",
    "likeliest_tokens",
    "mismatch_weights",
    "mixed_loss",
]
