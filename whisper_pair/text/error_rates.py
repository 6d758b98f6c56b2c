"""Text metrics: how far a transcript is from the human text.

WER with Whisper's English normalizer for English and a mark-preserving form of its basic one elsewhere; CER for
languages written without spaces. Distances come from jiwer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .normalization import Normalizer

# as openai/whisper lists them in tokenizer.py; km and bo are written without spaces too
WITHOUT_SPACES = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})


@dataclass(frozen=True)
class ErrorRate:
    """Pooled over utterances, so that rates of parts can be added up."""

    errors: int  # substitutions + deletions + insertions
    length: int  # words (characters) of the reference

    @property
    def rate(self) -> float:
        """Errors a word (character); of an empty reference 1 where anything was written, else 0."""
        return self.errors / self.length if self.length else float(self.errors > 0)

    def __add__(self, other: "ErrorRate") -> "ErrorRate":
        return ErrorRate(self.errors + other.errors, self.length + other.length)


def metric_name(language: str) -> str:
    """ "cer" for languages written without spaces, "wer" for the others; `language` is Whisper's code."""
    return "cer" if language in WITHOUT_SPACES else "wer"


def error_rates(
    references: Sequence[str],
    hypotheses: Sequence[str],
    language: str,
    normalizer: Normalizer,
    metric: str | None = None,
) -> list[ErrorRate]:
    """One ErrorRate an utterance: of words, or of characters where `metric`, or else the language, is for "cer"."""
    metric = metric or metric_name(language)
    rates = []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        expected, found = units(reference, metric, normalizer), units(hypothesis, metric, normalizer)
        errors = sum(count for _, count in _errors(expected, found))
        rates.append(ErrorRate(errors, len(expected)))
    return rates


def aligned_errors(
    references: Sequence[str], hypothesis: str, language: str, normalizer: Normalizer
) -> list[ErrorRate]:
    """One ErrorRate for each of several consecutive references, against the hypothesis for all of them.

    A substitution or deletion belongs to the reference of its word, an insertion to the word that it follows.
    """
    metric = metric_name(language)
    parts = [units(reference, metric, normalizer) for reference in references]
    owner = [number for number, part in enumerate(parts) for _ in part]
    counts = [0] * len(parts)
    for place, count in _errors([unit for part in parts for unit in part], units(hypothesis, metric, normalizer)):
        counts[owner[min(place, len(owner) - 1)] if owner else 0] += count
    return [ErrorRate(count, len(part)) for count, part in zip(counts, parts, strict=True)]


def units(text: str, metric: str, normalizer: Normalizer) -> list[str]:
    """What is counted: words, or characters without spaces."""
    normalized = normalizer(text)
    return normalized.split() if metric == "wer" else list(normalized.replace(" ", ""))


def _errors(expected: list[str], found: list[str]) -> Iterator[tuple[int, int]]:
    """(position among the expected units, errors there), by jiwer's alignment."""
    import jiwer

    if not expected:  # jiwer refuses an empty reference; each unit found is then an insertion
        yield 0, len(found)
        return
    # joined by spaces, so that the same alignment serves words and characters
    (chunks,) = jiwer.process_words([" ".join(expected)], [" ".join(found)]).alignments
    for chunk in chunks:
        if chunk.type == "insert":
            yield max(0, chunk.ref_start_idx - 1), chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            yield from ((place, 1) for place in range(chunk.ref_start_idx, chunk.ref_end_idx))


def pooled(rates: Sequence[ErrorRate]) -> ErrorRate:
    """The sum of several rates: errors and lengths added up."""
    return sum(rates, ErrorRate(0, 0))
