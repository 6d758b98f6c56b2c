"""The sentence that a report begins with: where the pair is faster, and that its text is the main's."""

import pytest

from tests.eval.reports import short_windows, window_times
from whisper_pair.report.short_windows_words import short_windows_fix, short_windows_line
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


def with_short_windows(section: dict, missed: float | None = None) -> dict:
    """`missed`: what the verdict allowed in vain."""
    criterion = {"name": "short_windows_errors", "target": missed or 0.01, "passed": missed is None}
    found = report(ONE) | {"short_windows": section, "verdict": {"criteria": [criterion]}}
    return found | {"quality": {"metric": "wer"}}


UNCLEAR = {"over_full": 1.1, "over_full_interval": [0.9, 1.3], "over_full_verdict": "unclear"}
SPEEDS = (
    window_times("speculative", "full", 1, over_full=1.0, over_full_verdict="unclear"),
    window_times("speculative", "short", 1, over_full=2.93),
    window_times("greedy", "short", 1, over_full=9.0),
    window_times("speculative", "short", 16, over_full=3.2),
)


@pytest.mark.parametrize(
    ("section", "missed", "clause"),
    [
        (
            short_windows(rows=SPEEDS),
            None,
            "with windows as long as the clips it is 2.9x as fast at batch 1 and 3.2x as fast at batch 16 as with full "
            "ones, and 1.2x as fast at batch 1 and 1.2x as fast at batch 16 as its main with them.",
        ),
        (
            short_windows(rows=(window_times("speculative", "short", 1, over_full=2.93, drafted_rounds=0),)),
            None,
            "with windows as long as the clips it is 2.9x as fast at batch 1 as with full ones.",
        ),
        (
            short_windows(rows=(window_times("speculative", "short", 1, **UNCLEAR),)),
            None,
            "windows as long as the clips bring no clear gain.",
        ),
        (
            short_windows(0.4, 0.423),
            0.01,
            "windows as long as the clips cost its main 2.3 points of WER, so give it full ones.",
        ),
        (
            short_windows(unexplained=2),
            None,
            "in windows as long as the clips, 2 of 5 transcripts differ from the main's by more than a near tie.",
        ),
    ],
)
def test_the_sentence_goes_on_with_short_windows_where_the_main_was_trained_on_them(section, missed, clause):
    found = headline(with_short_windows(section, missed))
    assert found == SAME + f"1.6x as fast at batch 1 on a CPU; {clause}"


def test_a_small_gain_is_not_rounded_away():
    assert headline(report(row(1, 1.046, "faster"))) == SAME + "1.05x as fast at batch 1 on a CPU."


def test_a_line_gives_the_speed_and_the_errors_of_both_kinds_of_windows():
    rows = (SPEEDS[1], window_times("speculative", "short", 8, drafted_rounds=0))
    assert short_windows_line(with_short_windows(short_windows(rows=rows))) == (
        "batch 1: over full ones 2.93x (1.90 to 2.10), over the main alone 1.20x (1.10 to 1.30); batch 8: over full "
        "ones 2.00x (1.90 to 2.10), over the main alone 1.20x (1.10 to 1.30), drafting off; the main's WER 39.0 %, in "
        "full ones 40.0 %"
    )


def test_short_windows_that_lose_more_than_is_allowed_come_with_what_to_do():
    lost = with_short_windows(short_windows(0.4, 0.423), 0.01)
    fix = short_windows_fix(lost)
    assert fix.startswith(
        "Windows as long as the clips cost its main 2.3 points of WER, more than the 1 that are allowed:"
    )
    for way in ("--short-windows off", "train.parameters: all", "train.short_windows.share"):
        assert way in fix
    assert short_windows_line(lost).endswith(fix)
    assert short_windows_fix(with_short_windows(short_windows())) == ""


def test_a_main_alone_gets_its_errors_and_its_speed():
    greedy = {"engine": "pair", "mode": "greedy", "batch_size": 1, "rtfx": 42.31, "latency_p50": 0.1}
    found = report(greedy) | {"quality": {"metric": "wer", "main": {"rate": 0.0512}}}
    sentence = "This model's WER is 5.1 %, and it transcribes 42.3x as fast as speech at batch 1 on a CPU."
    assert main_headline(found) == sentence
