"""The sentence that a report begins with: where the pair is faster, and that its text is the main's."""

import pytest

from whisper_pair.report.summary import headline, main_headline


def row(batch: int, speedup: float, verdict: str, drafted: int = 90) -> dict:
    return {
        "engine": "pair",
        "mode": "speculative",
        "assistant": "ours",
        "draft_tokens": "auto",
        "batch_size": batch,
        "speedup": speedup,
        "speedup_interval": [speedup - 0.15, speedup + 0.15],
        "speedup_verdict": verdict,
        "drafted_rounds": drafted,
        "rounds": 100,
    }


def report(*rows: dict, unexplained: int = 0) -> dict:
    return {
        "identity": {"unexplained": unexplained, "utterances": 12},
        "environment": {"hardware": {"cpu": "a CPU"}},
        "speed": {"rows": list(rows)},
    }


SAME = "This pair writes what its main writes, "
ONE, FOUR = row(1, 1.62, "faster"), row(4, 1.31, "faster")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([ONE], SAME + "1.6x as fast at batch 1 on a CPU."),
        ([ONE, FOUR], SAME + "1.6x as fast at batch 1 and 1.3x as fast at batch 4 on a CPU."),
        (
            [ONE, row(16, 1.0, "unclear", drafted=2)],
            SAME + "1.6x as fast at batch 1 on a CPU; drafting does not pay off at batch 16.",
        ),
        (
            [ONE, row(4, 1.1, "unclear"), row(16, 0.83, "slower")],
            SAME + "1.6x as fast at batch 1 on a CPU; there is no clear gain at batch 4 "
            "and it is slower than its main at batch 16 (0.83x).",
        ),
        (
            [row(1, 1.05, "unclear"), row(8, 0.98, "unclear"), row(16, 0.8, "slower")],
            "This pair writes what its main writes; on a CPU there is no clear gain at batches 1 and 8 "
            "and it is slower than its main at batch 16 (0.8x).",
        ),
        (
            [row(1, 1.65, "unclear")],
            "This pair writes what its main writes; on a CPU there are too few timings to show a gain at batch 1.",
        ),
        (
            [row(1, 0.99, "unclear", drafted=0)],
            "This pair writes what its main writes; on a CPU drafting does not pay off at batch 1.",
        ),
    ],
)  # fmt: skip
def test_one_sentence_says_where_the_pair_is_faster(rows, sentence):
    assert headline(report(*rows)) == sentence


def test_a_pair_that_writes_another_text_says_so_first():
    assert headline(report(ONE, unexplained=2)).startswith("This pair does not write what its main writes: 2 of 12")


def test_a_main_alone_gets_its_errors_and_its_speed():
    greedy = {"engine": "pair", "mode": "greedy", "batch_size": 1, "rtfx": 42.31, "latency_p50": 0.1}
    found = report(greedy) | {"quality": {"metric": "wer", "main": {"rate": 0.0512}}}
    sentence = "This model's WER is 5.1 %, and it transcribes 42.3x as fast as speech at batch 1 on a CPU."
    assert main_headline(found) == sentence
