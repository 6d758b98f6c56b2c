"""Matched Whisper main/assistant pairs: fine-tune, distil, prove, and decode them speculatively."""

__all__ = ["Pair"]


def __getattr__(name: str):
    if name == "Pair":  # on first use: torch and transformers take seconds to load, and commands must answer at once
        from .pair import Pair

        return Pair
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
