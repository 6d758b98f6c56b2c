"""What a filter drops is counted in two kinds: worthless labels, and sound ones that are lost."""

import json

import pytest

from benchmarks import thresholds
from distill.label_filter import LabelFilter
from distill.labels import LabelRow
from tests.label_rows import label_row
from whisper_pair.config.schema import Distill
from whisper_pair.text.normalization import Normalizer


def row(text: str, error: float, tokens: int = 8, finished: bool = True) -> LabelRow:
    return label_row(text, error=error, tokens=[1] * tokens, finished=finished, seconds=2.0)


def test_each_sign_is_counted_by_itself_and_all_together_once():
    rows = [
        row("goed verstaan", 0.1),
        row("half verstaan", 0.5),
        row("en toen " * 9, 8.0, tokens=200, finished=False),  # three signs
        row("nee nee nee nee nee", 0.2),  # the speaker did repeat it
        row("heel wat anders", 1.0),
    ]
    found = {one["measure"]: one for one in thresholds.signs(rows, LabelFilter(Distill(), "nl", Normalizer("nl")))}
    counts = {name: (one["dropped"], one["worthless_dropped"], one["sound_dropped"]) for name, one in found.items()}
    assert counts == {
        "tokens per second": (1, 1, 0),
        "compression ratio": (0, 0, 0),
        "repeats in a row": (2, 1, 1),
        "without an end": (1, 1, 0),
        "all together": (2, 1, 1),
    }
    assert (found["all together"]["worthless"], found["all together"]["sound"]) == (2, 2)
    assert found["tokens per second"]["median"] == 4.0
    assert found["tokens per second"]["greatest"] == 100.0


def test_the_defaults_still_are_those_that_were_measured_and_lose_no_sound_label():
    result = json.loads(thresholds.RESULT.read_text(encoding="utf-8"))
    limits = {one["measure"]: one["limit"] for one in result["rows"] if "limit" in one}
    s = Distill()
    assert limits["tokens per second"] == s.max_tokens_per_second
    assert limits["compression ratio"] == pytest.approx(s.max_compression_ratio)
    assert limits["repeats in a row"] == s.max_repeats
    assert all(one["sound_dropped"] == 0 for one in result["rows"] if "labels" in one)
    table = thresholds.table(result)
    assert table in thresholds.DOCS.read_text(encoding="utf-8")
