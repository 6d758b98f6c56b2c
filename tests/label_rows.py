"""Label rows for tests: sound ones, but for what a test changes."""

from typing import Any

from distill.labels import LabelRow


def label_row(text: str, **changes: Any) -> LabelRow:
    """The label of a window of 4 s with nothing against it."""
    known: dict[str, Any] = {
        "window": 0, "key": "", "clips": [], "starts": [], "seconds": 4.0, "prefix": [], "tokens": [1] * 8,
        "finished": True, "text": text, "human_text": None, "error": None, "mean_log_probability": None,
        "compression_ratio": 1.0,
    }  # fmt: skip
    return LabelRow(**known | changes)
