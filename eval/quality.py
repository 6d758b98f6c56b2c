"""Error rates of main, assistant and pair against the human text."""

from typing import Any

from whisper_pair.text import ErrorRate, Normalizer, error_rates, metric_name, pooled


def quality_section(
    heard, references: list[str], tokenizer, language: str, normalizer: Normalizer
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The report's `quality`, and what each contender said about each clip."""
    said = {"main": heard.main}
    if heard.start is not None:
        said["start"] = heard.start
    for name in heard.pair:
        suffix = "" if name == "ours" else f" {name}"
        said["assistant" + suffix] = heard.assistant[name]
        said["pair" + suffix] = [decoded.tokens for decoded in heard.pair[name]]
    texts = {name: tokenizer.batch_decode(tokens, skip_special_tokens=True) for name, tokens in said.items()}
    rates = {name: pooled(error_rates(references, lines, language, normalizer)) for name, lines in texts.items()}
    return {"metric": metric_name(language)} | {name: _figures(rate) for name, rate in rates.items()}, texts


def _figures(rate: ErrorRate) -> dict[str, Any]:
    return {"rate": rate.rate, "errors": rate.errors, "length": rate.length}
