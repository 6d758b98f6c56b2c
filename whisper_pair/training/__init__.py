"""What both training stages share: the loop, batches, caches, target tokens and validation."""

from .batches import AudioBatch, Batch, Batches, Example, FrozenEncoder, padded_tokens
from .capabilities import DECODING_MARGIN, capabilities_of, planned_capabilities, short_windows_of
from .encoder_cache import EncoderCache
from .launch import begin_stage, make_accelerator
from .loop import Trainable, ValidationScore, fit
from .plan import Plan, Stream, deciding_settings
from .probe import probe
from .restored_style import with_restored_style
from .sharding import gathered_model, gathered_weights, model_with_weights
from .short_steps import Draw, EqualSteps, ShortSteps
from .target_tokens import TargetTokens
from .validation import Validator, pooled_over_processes
from .window_cache import WindowCache
from .write_behind import WRITES

__all__ = [
    "DECODING_MARGIN",
    "WRITES",
    "AudioBatch",
    "Batch",
    "Batches",
    "Draw",
    "EncoderCache",
    "EqualSteps",
    "Example",
    "FrozenEncoder",
    "Plan",
    "ShortSteps",
    "Stream",
    "TargetTokens",
    "Trainable",
    "ValidationScore",
    "Validator",
    "WindowCache",
    "begin_stage",
    "capabilities_of",
    "deciding_settings",
    "fit",
    "gathered_model",
    "gathered_weights",
    "make_accelerator",
    "model_with_weights",
    "padded_tokens",
    "planned_capabilities",
    "pooled_over_processes",
    "probe",
    "short_windows_of",
    "with_restored_style",
]
