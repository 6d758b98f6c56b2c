""""""

from .batches import Batches, Encoding, Example
from .encoder_cache import EncoderCache
from .launch import begin, make_accelerator
from .loop import Score, fit
from .plan import Plan, Stream, deciding
from .probe import probe
from .sharding import whole_model, whole_weights, with_weights
from .target_tokens import Targets
from .validation import Listener, pooled_over_processes
from .window_cache import WindowCache
from .write_behind import WRITES

__all__ = [
    "WRITES",
    "Batches",
    "EncoderCache",
    "Encoding",
    "Example",
    "Listener",
    "Plan",
    "Score",
    "Stream",
    "Targets",
    "WindowCache",
    "begin",
    "deciding",
    "fit",
    "make_accelerator",
    "pooled_over_processes",
    "probe",
    "whole_model",
    "whole_weights",
    "with_weights",
]
