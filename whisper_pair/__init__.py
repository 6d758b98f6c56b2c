"""Matched Whisper main/assistant pairs: fine-tune, distil, prove, and decode them speculatively."""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decoding import Decoded, Options, Round
    from .errors import InputError
    from .longform import Segment, Transcription, Word
    from .pair import Pair, Transcript

__all__ = [
    "Decoded",
    "InputError",
    "Options",
    "Pair",
    "Round",
    "Segment",
    "Transcript",
    "Transcription",
    "Word",
    "__version__",
]

HOME = {  # of each name that is loaded on first use: torch takes seconds, and commands must answer at once
    "Decoded": ".decoding",
    "InputError": ".errors",
    "Options": ".decoding",
    "Pair": ".pair",
    "Round": ".decoding",
    "Segment": ".longform",
    "Transcript": ".pair",
    "Transcription": ".longform",
    "Word": ".longform",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("whisper-pair")
    if name in HOME:
        return getattr(import_module(HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
