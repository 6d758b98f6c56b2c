"""What a verdict rests on, with a planted fault for every check."""

import json
import shutil
import types
from pathlib import Path

import pytest
from transformers import WhisperForConditionalGeneration

import eval.evaluate as stage
from eval.__main__ import main as run_stage
from eval.evaluate import evaluate
from eval.measuring import contenders
from eval.reading.sections.verdict import verdict as verdict_part
from eval.reading.verdict import check_enough_timings, verdict_section
from tests.eval.reports import criterion, report_of, short_windows, window_times
from whisper_pair.config.schema import Require
from whisper_pair.decoding.rows import Row
from whisper_pair.errors import InputError
from whisper_pair.report.schema import problems
from whisper_pair.report.wording import is_pair


def test_a_long_recording_that_drafts_change_fails_the_run(judged, capsys):
    report = json.loads((judged / "eval" / "report.json").read_text())
    ended = types.SimpleNamespace(folder=judged / "eval")
    assert stage.status(report, ended, strict=False) == 0
    report["quality"]["long_form"] |= {"identical": 0, "unexplained": 1}
    assert stage.status(report, ended, strict=False) == 1
    criteria = verdict_section(report, Require())["criteria"]
    assert "long_form_identical" in [c["name"] for c in criteria if not c["passed"]]


def test_strict_asks_a_finished_evaluation_too(judged, caplog):
    """A finished evaluation is not repeated; its verdict decides the status."""
    report = json.loads((judged / "eval" / "report.json").read_text())
    assert not report["verdict"]["passed"]  # no random pair is faster
    file = judged / "config.yaml"
    assert run_stage([str(file)]) == 0
    assert run_stage([str(file), "--strict"]) == 1
    assert "the verdict is not passed (" in caplog.text


FASTER = {"speedup": 1.3, "speedup_interval": [1.2, 1.4], "speedup_verdict": "faster", "drafted_rounds": 9, "rounds": 9}
UNCLEAR = FASTER | {"speedup": 1.3, "speedup_interval": [0.9, 1.6], "speedup_verdict": "unclear"}
OFF = {
    "speedup": 0.99,
    "speedup_interval": [0.97, 1.01],
    "speedup_verdict": "unclear",
    "drafted_rounds": 5,
    "rounds": 100,
}


@pytest.fixture
def verdict_of(judged):
    """The verdict on a sound measurement where the pair's rows at batch 1 and 2 are replaced; and what it failed."""

    def of(one: dict, two: dict, agreed: float = 0.6, sections: dict | None = None, **require):
        report = json.loads((judged / "eval" / "report.json").read_text()) | (sections or {})
        report["cost"]["ours"]["assistant_speedup"], report["acceptance"]["agreement"] = 2.5, agreed
        for row in filter(is_pair, report["speed"]["rows"]):
            row |= {1: one, 2: two}[row["batch_size"]]
        verdict = verdict_section(report, Require(**require))
        assert not problems(report | {"verdict": verdict})
        return verdict, [c["name"] for c in verdict["criteria"] if not c["passed"]]

    return of


def test_a_pair_passes_with_a_gain_at_every_timed_batch_size(verdict_of):
    """No mark of the article is met, which decides nothing."""
    verdict, failed = verdict_of(FASTER, FASTER)
    assert verdict["passed"]
    assert not failed
    assert [(mark["target"], mark["passed"]) for mark in verdict["article"]] == [(3, False), (0.7, False), (2, False)]
    assert verdict_of(FASTER, UNCLEAR)[1] == ["speedup_batch_2"]
    assert verdict_of(FASTER, FASTER, agreed=0.4)[1] == ["agreement"]


@pytest.mark.parametrize(
    ("two", "kept"),
    [
        (OFF, True),
        (
            OFF | {"speedup": 1.02, "speedup_interval": [1.01, 1.03], "speedup_verdict": "faster"},
            True,
        ),  # no gain of its
        (OFF | {"drafted_rounds": 6}, False),  # it drafted, for nothing
        (
            OFF | {"speedup": 0.9, "speedup_interval": [0.85, 0.95], "speedup_verdict": "slower"},
            False,
        ),  # and yet it cost
    ],
)
def test_a_batch_size_without_drafts_is_kept_if_that_costs_nothing(verdict_of, two, kept):
    verdict, failed = verdict_of(FASTER, two)
    found = next(c for c in verdict["criteria"] if c["name"] == "speedup_batch_2")
    assert (found["passed"], found["kept"], failed) == (kept, kept, [] if kept else ["speedup_batch_2"])
    part = verdict_part(verdict)
    assert ("drafting off" in part.text) is kept
    assert part.tables[0].rows[[c["name"] for c in verdict["criteria"]].index("speedup_batch_2")][-1] == (
        "kept" if kept else "no"
    )


GREEDY = window_times("greedy", "short", 1)


def loss_of(more: float, interval: list[float]) -> dict:
    """The error rate in short windows, so much above 0.4."""
    return {"rate": 0.4 + more, "interval": None, "errors": 4, "length": 10, "over_main_interval": interval}


@pytest.mark.parametrize(
    ("section", "dtype", "missed"),
    [
        (short_windows(), "fp32", []),
        (short_windows(0.4, 0.41), "fp32", []),  # a point is allowed
        (short_windows(0.4, 0.43), "fp32", ["short_windows_errors"]),
        (short_windows(error_rate=loss_of(0.03, [0.01, 0.05])), "fp32", ["short_windows_errors"]),
        (short_windows(error_rate=loss_of(0.03, [-0.01, 0.07])), "fp32", []),  # no clear loss
        (short_windows(identical=4, unexplained=1), "fp32", ["short_windows_identical"]),
        (short_windows(identical=4), "bf16", []),  # a near tie
        (short_windows(rows=(window_times("speculative", "short", 1, identical=2),)), "fp32",
         ["short_windows_timed_identical"]),
        (short_windows(rows=(window_times("speculative", "short", 1, identical=2),)), "bf16", []),
        (short_windows(rows=(window_times("speculative", "short", 1, **UNCLEAR),)), "fp32",
         ["short_windows_speedup_batch_1"]),
        (short_windows(rows=(window_times("speculative", "short", 1, **OFF),)), "fp32", []),  # kept
        (short_windows(rows=(window_times("speculative", "full", 1, **UNCLEAR), GREEDY)), "fp32", []),  # full windows
    ],
)  # fmt: skip
def test_short_windows_are_judged_where_the_main_was_trained_on_them(verdict_of, judged, section, dtype, missed):
    environment = json.loads((judged / "eval" / "report.json").read_text())["environment"] | {"dtype": dtype}
    sections = {"environment": environment, "short_windows": section}
    assert verdict_of(FASTER, FASTER, sections=sections)[1] == missed


def test_a_gain_in_short_windows_alone_is_enough(verdict_of):
    gains = short_windows(
        rows=(window_times("speculative", "short", 1), window_times("speculative", "short", 2, **OFF))
    )
    verdict, failed = verdict_of(OFF, OFF, sections={"short_windows": gains})
    assert not failed
    assert next(c for c in verdict["criteria"] if c["name"] == "batch_sizes_faster")["figure"] == 1


def test_a_pair_that_drafts_nowhere_does_not_pass(verdict_of):
    verdict, failed = verdict_of(OFF, OFF)
    assert failed == ["batch_sizes_faster"]
    assert not verdict["passed"]


def test_a_gate_may_ask_for_more_but_not_for_no_speed(verdict_of, eval_config):
    assert verdict_of(FASTER, FASTER, speedup=1.3)[1] == []
    assert verdict_of(FASTER, OFF, speedup=1.5)[1] == ["speedup_batch_1"]
    assert verdict_of(FASTER, FASTER, agreement=0.7, assistant_speedup=3.0)[1] == ["agreement", "assistant_speedup"]
    with pytest.raises(InputError, match=r"eval\.require\.speedup: expected a number of at least 1, found 0"):
        eval_config(require={"speedup": 0})
    with pytest.raises(InputError, match=r"eval\.require\.speedup: expected .* found null"):
        eval_config(require={"speedup": None})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "eval.repeats: expected at least 3 for --strict, found 1: .* 2 clips at batch 1 make 2"),
        (
            {"timed_clips": 40, "limit": 40, "repeats": 2, "batch_sizes": [8, 32]},
            "expected at least 3 .* batch 32 make 4",
        ),
        ({"timed_clips": 9, "limit": 9, "batch_sizes": [1]}, None),  # but the test set holds 5
    ],
)
def test_a_verdict_that_could_say_nothing_of_speed_is_refused_before_any_work(eval_config, settings, message):
    config = eval_config(**settings)
    if message is None:
        check_enough_timings(config.eval)
        check_enough_timings(config.eval, 5)
        with pytest.raises(InputError, match="2 clips at batch 1 make 2"):
            check_enough_timings(config.eval, 2)
    else:
        with pytest.raises(InputError, match=message):
            evaluate(config, strict=True)
    assert not (Path(config.output) / "eval").exists()


# Planted faults


def test_an_assistant_over_another_encoder_is_refused(eval_config, pair, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(pair[0], other)
    main = WhisperForConditionalGeneration.from_pretrained(other)
    main.model.encoder.layers[0].fc1.weight.data[0, 0] += 1e-3
    main.save_pretrained(other)
    with pytest.raises(InputError, match="was distilled over another encoder"):
        evaluate(eval_config(main=other))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_engine_that_commits_one_wrong_token_fails_the_run(eval_config, monkeypatch, precision):
    advance = Row.advance

    def wrong(row, result):
        begins = result.proposed and row.index == 1 and len(row.tokens) == row.start
        return advance(row, result._replace(following=result.following + 7) if begins else result)

    monkeypatch.setattr(Row, "advance", wrong)
    config = eval_config(precision=precision)
    assert evaluate(config) == 1
    report = report_of(config)
    assert report["identity"]["unexplained"] == 1
    assert not criterion(report, "identical_output")["passed"]
    (difference,) = [d for d in report["identity"]["differences"] if not d["near_tie"]]
    assert difference["gap"] > 0
    assert evaluate(config) == 1  # found finished, it fails again


def test_a_baseline_under_other_suppress_tokens_is_no_baseline(eval_config, monkeypatch):
    generate = contenders._generate

    def other(main, features, options, assistant=None):
        usual = main.generation_config.suppress_tokens
        message = generate(main, features[:1], options)[0].tokens
        main.generation_config.suppress_tokens = [*(usual or ()), message[0]]
        try:
            return generate(main, features, options, assistant)
        finally:
            main.generation_config.suppress_tokens = usual

    monkeypatch.setattr(contenders, "_generate", other)
    config = eval_config()
    evaluate(config)
    found = criterion(report_of(config), "baseline_unexplained")
    assert found["figure"] > 0
    assert not found["passed"]


def test_a_leaked_test_clip_fails_the_verdict(eval_config, demo_data, tmp_path):
    trained = tmp_path / "trained"
    shutil.copytree(demo_data / "train", trained)
    lines = (trained / "metadata.csv").read_text().splitlines()
    first = sorted((demo_data / "test").glob("*.wav"))[0]
    shutil.copy(first, trained / "harmless.wav")
    columns = lines[0].split(",")
    new = ["harmless.wav" if c == "file_name" else "iets anders" if c == "text" else "x" for c in columns]
    (trained / "metadata.csv").write_text("\n".join([*lines, ",".join(new)]) + "\n")
    config = eval_config(train=({"folder": str(trained)},), limit=5)
    evaluate(config)
    report = report_of(config)
    assert [Path(name).name for name in report["data"]["leaks"]["clips"]] == [first.name]
    assert not criterion(report, "leaked_clips")["passed"]


def test_a_speedup_that_is_not_met_says_what_is_required_of_it():
    criterion_row = {"name": "speedup_batch_1", "figure": 1.05, "target": 1.0, "higher_is_better": True}
    unmet = criterion_row | {"passed": False, "kept": False}
    ((*_, required, met),) = verdict_part({"criteria": [unmet], "article": [], "passed": False}).tables[0].rows
    assert (required, met) == ("at least 1, and its interval above 1", "no")
