"""Text metrics: how far a transcript is from the human text.

WER with Whisper's English normalizer for English and a mark-preserving form of its basic one elsewhere; CER for
languages written without spaces. Distances come from jiwer.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import InputError

# as openai/whisper lists them in tokenizer.py; km and bo are written without spaces too
WITHOUT_SPACES = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})


@dataclass(frozen=True)
class ErrorRate:
    """Pooled over utterances, so that rates of parts can be added up."""

    errors: int  # substitutions + deletions + insertions
    length: int  # words (characters) of the reference

    @property
    def rate(self) -> float:
        return self.errors / self.length if self.length else float(self.errors > 0)

    def __add__(self, other: "ErrorRate") -> "ErrorRate":
        return ErrorRate(self.errors + other.errors, self.length + other.length)


def metric_name(language: str) -> str:
    return "cer" if language in WITHOUT_SPACES else "wer"


def basic_normalize(text: str) -> str:
    """Whisper's basic normalizer, but combining marks stay in their words: Hindi, Thai and Arabic keep their vowels."""
    text = unicodedata.normalize("NFKC", text.lower())
    text = re.sub(r"[<\[][^>\]]*[>\]]|\([^)]*\)", "", text)
    kept = (c if unicodedata.category(c)[0] in "LMN" or c in "\u200c\u200d" else " " for c in text)
    return " ".join("".join(kept).split())


class Normalizer:
    """text -> the form in which transcripts of a language are compared."""

    def __init__(self, language: str, spelling: dict[str, str] | None = None):
        """`spelling` is the British-to-American map of a checkpoint's normalizer.json; English needs it."""
        self._english = None
        if language == "en":
            if spelling is None:
                raise InputError(
                    "language en: the main's tokenizer lacks normalizer.json, which the English word error rate needs; "
                    "copy that file from any openai/whisper checkpoint into the main's folder."
                )
            from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

            self._english = EnglishTextNormalizer(spelling)

    def __call__(self, text: str) -> str:
        return self._english(text) if self._english else basic_normalize(text)


def error_rates(
    references: Sequence[str], hypotheses: Sequence[str], language: str, normalizer: Normalizer
) -> list[ErrorRate]:
    """One ErrorRate an utterance: words, or characters for languages without spaces."""
    import jiwer

    process = jiwer.process_characters if metric_name(language) == "cer" else jiwer.process_words
    rates = []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        reference, hypothesis = normalizer(reference), normalizer(hypothesis)
        if metric_name(language) == "cer":
            reference, hypothesis = reference.replace(" ", ""), hypothesis.replace(" ", "")
        if not reference:  # jiwer refuses an empty reference; each word said is then an insertion
            rates.append(ErrorRate(len(hypothesis if metric_name(language) == "cer" else hypothesis.split()), 0))
            continue
        found = process(reference, hypothesis)
        rates.append(
            ErrorRate(
                found.substitutions + found.deletions + found.insertions,
                found.hits + found.substitutions + found.deletions,
            )
        )
    return rates


def pooled(rates: Sequence[ErrorRate]) -> ErrorRate:
    return sum(rates, ErrorRate(0, 0))
