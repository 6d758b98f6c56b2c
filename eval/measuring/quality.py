"""Error rates of main, assistant and pair against the human text, with bootstrap intervals over utterances."""

from collections.abc import Sequence

from whisper_pair.report import Rate
from whisper_pair.text import ErrorRate, Normalizer, error_rates, pooled, text_of

from .bootstrap import difference_interval, ratio_intervals
from .decoded_clips import DecodedClips


def transcripts(decoded: DecodedClips, tokenizer) -> dict[str, list[str]]:
    """Each contender's text of each clip: "main", "start", "assistant", "pair", and those of other assistants."""
    tokens = {"main": decoded.main}
    if decoded.start is not None:
        tokens["start"] = decoded.start
    for name, its in decoded.by.items():
        suffix = "" if name == "ours" else f" {name}"
        tokens["assistant" + suffix] = its.alone
        tokens["pair" + suffix] = [row.tokens for row in its.pair]
    return {name: [text_of(tokenizer, row) for row in rows] for name, rows in tokens.items()}


def utterance_rates(
    texts: dict[str, list[str]], references: list[str], language: str, normalizer: Normalizer
) -> dict[str, list[ErrorRate]]:
    """Each contender's errors in each utterance."""
    return {name: error_rates(references, lines, language, normalizer) for name, lines in texts.items()}


def rate_rows(rates: dict[str, list[ErrorRate]]) -> dict[str, Rate]:
    """Each contender's pooled rate, and how far it is from the main's on the same utterances."""
    lengths = [rate.length for rate in rates["main"]]
    errors = {name: [rate.errors for rate in rows] for name, rows in rates.items()}
    intervals = ratio_intervals(list(errors.values()), [lengths] * len(errors))
    section: dict[str, Rate] = {}
    for (name, rows), interval in zip(rates.items(), intervals, strict=True):
        rate = pooled(rows)
        section[name] = {"rate": rate.rate, "interval": interval, "errors": rate.errors, "length": rate.length}
        if name != "main":
            section[name]["over_main_interval"] = difference_interval(
                (errors["main"], lengths), (errors[name], lengths)
            )
    return section


def texts_equal(one: Sequence[str], other: Sequence[str]) -> int:
    """Utterances with the same text."""
    return sum(a == b for a, b in zip(one, other, strict=True))
