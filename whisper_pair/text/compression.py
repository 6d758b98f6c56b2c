"""How much a text repeats itself."""

import zlib


def compression_ratio(text: str) -> float:
    """Bytes of the text over those that zlib makes of it: above 2.4 it is a loop (Whisper's own test and bound). 1 of
    no text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 1.0
