"""Error rates of main, assistant and pair against the human text, with bootstrap intervals over utterances."""

from collections.abc import Sequence
from typing import Any

from whisper_pair.text import ErrorRate, Normalizer, error_rates, metric_name, pooled, text_of

from .bootstrap import difference_interval, ratio_intervals
from .decoded_clips import Transcribed


def transcripts(heard: Transcribed, tokenizer) -> dict[str, list[str]]:
    """What each contender said about each clip: "main", "start", "assistant", "pair", and those of other assistants."""
    said = {"main": heard.main}
    if heard.start is not None:
        said["start"] = heard.start
    for name, its in heard.by.items():
        suffix = "" if name == "ours" else f" {name}"
        said["assistant" + suffix] = its.alone
        said["pair" + suffix] = [decoded.tokens for decoded in its.pair]
    return {name: [text_of(tokenizer, row) for row in rows] for name, rows in said.items()}


def rates_of(
    texts: dict[str, list[str]], references: list[str], language: str, normalizer: Normalizer
) -> dict[str, list[ErrorRate]]:
    return {name: error_rates(references, lines, language, normalizer) for name, lines in texts.items()}


def quality_section(rates: dict[str, list[ErrorRate]], language: str) -> dict[str, Any]:
    return {"metric": metric_name(language)} | rate_rows(rates)


def rate_rows(rates: dict[str, list[ErrorRate]]) -> dict[str, dict[str, Any]]:
    """Each contender's rate, and how far it lies from the main's on the same utterances."""
    lengths = [rate.length for rate in rates["main"]]
    errors = {name: [rate.errors for rate in rows] for name, rows in rates.items()}
    intervals = ratio_intervals(list(errors.values()), [lengths] * len(errors))
    section: dict[str, dict[str, Any]] = {}
    for (name, rows), interval in zip(rates.items(), intervals, strict=True):
        rate = pooled(rows)
        section[name] = {"rate": rate.rate, "interval": interval, "errors": rate.errors, "length": rate.length}
        if name != "main":
            section[name]["over_main_interval"] = difference_interval(
                (errors["main"], lengths), (errors[name], lengths)
            )
    return section


def texts_equal(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(a == b for a, b in zip(one, other, strict=True))
