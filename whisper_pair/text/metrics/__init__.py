"""Our text metrics for the `evaluate` library, which load without the Hub: `evaluate.load(folder("wer"))`."""

from pathlib import Path


def folder(name: str) -> str:
    """Where the module of the metric "wer" or "cer" lies."""
    return str(Path(__file__).parent / name)
