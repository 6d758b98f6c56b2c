"""Training losses that never hold [tokens, vocabulary] for more than a chunk of the tokens."""

from .chunks import CHUNK, IGNORE, SummedLoss, cross_entropy
from .mix import TeacherTargets, TopKTeacher, WholeTeacher, mixed_loss
from .rounds import mismatch_weights, top_tokens

__all__ = [
    "CHUNK",
    "IGNORE",
    "SummedLoss",
    "TeacherTargets",
    "TopKTeacher",
    "WholeTeacher",
    "cross_entropy",
    "mismatch_weights",
    "mixed_loss",
    "top_tokens",
]
