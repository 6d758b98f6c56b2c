"""Exact greedy and speculative decoding over Hugging Face Whisper weights, for ragged batches."""

from ..errors import InputError
from .engine import Engine
from .options import Decoded, Options, Round

__all__ = ["Decoded", "Engine", "InputError", "Options", "Round"]
