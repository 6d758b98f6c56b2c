"""Sound in: files of any kind -> 16 kHz mono samples -> log-mel spectrograms, and what augments them."""

from .augment import Perturbation, spec_augment
from .log_mel import LogMel, from_pcm, to_pcm
from .media import ENDINGS, Slice, holds_sound, view
from .reading import as_floats, audio_seconds, read_audio
from .sound import SAMPLE_RATE, Sound, total_seconds

__all__ = [
    "ENDINGS",
    "SAMPLE_RATE",
    "LogMel",
    "Perturbation",
    "Slice",
    "Sound",
    "as_floats",
    "audio_seconds",
    "from_pcm",
    "holds_sound",
    "read_audio",
    "spec_augment",
    "to_pcm",
    "total_seconds",
    "view",
]
