"""Windows as long as the clips in the report of a pair whose main was trained on them."""

import json
import shutil
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eval.evaluate import evaluate, stage_of
from eval.measuring import longform, spread_out
from eval.reading import pair_document
from eval.reading.report import markdown
from eval.tracking import tracked_figures
from tests.eval.reports import criterion, report_of
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import Capabilities, ShortWindows, load_draft, load_main, load_processor
from whisper_pair.data import load_test_clips
from whisper_pair.decoding import Engine, Options
from whisper_pair.decoding.round_times import RoundTimes
from whisper_pair.decoding.rows import Row
from whisper_pair.report import headline, verdict_lines
from whisper_pair.report.schema import problems

MARGIN = 0.3
TRAINED = Capabilities(0.0, 0.0, ("transcribe",), ("nl",), ShortWindows(0.8, 0.3, 2.0, margin=MARGIN))
BUCKET = 10  # frames


@pytest.fixture
def main(pair, tmp_path, monkeypatch):
    """The untrained main, with the record of one that was trained on short windows."""
    monkeypatch.setattr("whisper_pair.decoding.short_windows.FRAME_BUCKET", BUCKET)
    shutil.copytree(pair[0], tmp_path / "main")
    TRAINED.save(tmp_path / "main")
    return tmp_path / "main"


def expected_frames(config, processor) -> list[int]:
    """Of each test clip's window, by hand."""
    seconds = LogMel(processor.feature_extractor).seconds
    clips = load_test_clips(config.data.test, config.data, seconds, "test")
    clips = [clips[row] for row in spread_out(len(clips), config.eval.limit)]
    return [min(round(50 * seconds), int(-(-50 * (clip.seconds + MARGIN) // BUCKET)) * BUCKET) for clip in clips]


def cache_bytes(main: Path, assistant: str, frames: int) -> int:
    """Of an engine that has decoded two windows."""
    engine = Engine(load_main(main, torch.float32), load_draft(Path(assistant), torch.float32))
    states = torch.zeros(2, frames, engine.main.width)
    engine.decode(encoder_states=states, options=Options(language="nl", batch_size=2, max_new_tokens=1))
    return engine.caches.bytes


@pytest.fixture
def tried(monkeypatch) -> list:
    """What "auto" tries while windows are timed, to learn its cost."""
    found = []

    def untried(self, *given, original=RoundTimes.untried):
        drafts = original(self, *given)
        if drafts is not None and any(frame.name == "interleaved" for frame in traceback.extract_stack()):
            found.append(given)
        return drafts

    monkeypatch.setattr(RoundTimes, "untried", untried)
    return found


def test_both_kinds_of_windows_stand_side_by_side(main, eval_config, tried):
    config = eval_config(main=main, batch_sizes=[2], limit=None)
    assert evaluate(config) == 0
    assert not tried
    report = report_of(config)
    assert problems(report) == []
    section = report["short_windows"]
    full, short, rows = section["full"], section["short"], section["rows"]

    frames = expected_frames(config, load_processor(main))
    assert min(frames) < 200  # a full window's
    assert (full["seconds"], short["seconds"]) == (4.0, pytest.approx(sum(frames) / len(frames) / 50))
    assert section["margin"] == MARGIN

    for kind in (full, short):  # each pair writes what the main writes in the same windows
        assert (kind["identical"], kind["unexplained"]) == (5, 0)
        assert [cost["batch_size"] for cost in kind["cost"]] == [1, 2]
    assert full["error_rate"] == report["quality"]["main"]
    assert (full["agreement"], full["best_draft_tokens"], full["predicted_speedup"]) == (
        report["acceptance"]["agreement"],
        report["acceptance"]["best_draft_tokens"],
        max(row["predicted_speedup"] for row in report["acceptance"]["by_draft_tokens"]),
    )
    assert short["error_rate"]["length"] == full["error_rate"]["length"]
    assert short["error_rate"]["over_main_interval"] is not None
    assert (short["agreement"], short["error_rate"]["errors"]) != (full["agreement"], full["error_rate"]["errors"])

    assert short["cache_megabytes"] < full["cache_megabytes"]
    for kind, longest in ((full, 200), (short, max(frames))):
        assert kind["cache_megabytes"] == pytest.approx(cache_bytes(main, config.eval.assistant, longest) / 1e6)

    assert [(row["batch_size"], row["mode"], row["windows"]) for row in rows] == [
        (size, mode, kind) for size in (1, 2) for mode in ("greedy", "speculative") for kind in ("full", "short")
    ]
    for row in rows:
        assert row["identical"] == section["timed_clips"] == 2
        assert row["milliseconds_spread"][0] <= row["milliseconds"] <= row["milliseconds_spread"][1]
        assert 0 < row["encoder_share"] <= 1
        alike = {(other["mode"], other["windows"]): other for other in rows if other["batch_size"] == row["batch_size"]}
        for other, gain in ((("greedy", row["windows"]), "speedup"), ((row["mode"], "full"), "over_full")):
            assert row[gain] == pytest.approx(alike[other]["milliseconds"] / row["milliseconds"])
        assert (row["rounds"] is None) == (row["mode"] == "greedy")

    loss = criterion(report, "short_windows_errors")
    assert loss["figure"] == short["error_rate"]["rate"] - full["error_rate"]["rate"]
    for name in ("short_windows_identical", "short_windows_timed_identical"):
        assert criterion(report, name)["figure"] == 1.0
    assert criterion(report, "short_windows_speedup_batch_2")["figure"] == rows[-1]["speedup"]
    text = markdown(pair_document(report))
    assert "## Short windows" in text
    assert f"| a window, s | 4.0 | {short['seconds']:.1f} |" in text
    assert "speedup over the main alone in short windows, batch 2" in text
    assert verdict_lines(report)[-1][0] == "short windows"
    assert tracked_figures(report)["short_windows_over_full_batch_2"] == rows[-1]["over_full"]


def test_long_recordings_are_decoded_in_both_kinds_of_windows(main, eval_config, monkeypatch):
    asked = []

    def noted(pair, audio, options, *given, margin=None, original=longform.transcribe, **more):
        asked.append(margin)
        return original(pair, audio, options, *given, margin=margin, **more)

    monkeypatch.setattr(longform, "transcribe", noted)
    assert evaluate(eval_config(main=main, limit=None, timed_clips=1, long_form_minutes=0.1)) == 0
    report = report_of(eval_config(main=main))
    assert problems(report) == []
    long = report["quality"]["long_form"]
    assert {*asked} == {None, MARGIN}
    assert (long["identical"], long["short_windows_identical"], long["unexplained"]) == (long["recordings"],) * 2 + (0,)
    assert long["short_windows"]["length"] == long["main"]["length"]
    assert long["short_windows"]["over_main_interval"] is not None or long["recordings"] == 1
    assert criterion(report, "short_windows_long_form_identical")["passed"]
    text = markdown(pair_document(report))
    assert "| main, in windows as long as their sound |" in text
    assert f"and in {long['recordings']} where windows end with their sound" in text


def test_a_pair_that_writes_another_text_in_short_windows_alone_fails_the_run(main, eval_config, monkeypatch, caplog):
    """In half precision, so that the main's certainty is computed again, over the short window."""
    config, advance = eval_config(main=main, precision="bf16", timed_clips=1), Row.advance
    frames = expected_frames(config, load_processor(main))
    shortest = frames.index(min(frames))

    def wrong(row, result):
        begins = result.proposed and row.index == shortest and len(row.tokens) == row.start and row.frames < 200
        return advance(row, result._replace(following=result.following + 7) if begins else result)

    monkeypatch.setattr(Row, "advance", wrong)
    assert evaluate(config) == 1
    report = report_of(config)
    assert (report["identity"]["unexplained"], report["short_windows"]["full"]["unexplained"]) == (0, 0)
    assert report["short_windows"]["short"]["unexplained"] == 1
    assert not criterion(report, "short_windows_identical")["passed"]
    assert "in windows as long as the clips, 1 of 3 transcripts differ" in headline(report)
    assert "see identity, long form and short windows" in caplog.text
    assert evaluate(config) == 1  # found finished, it fails again


def test_a_main_without_the_record_gets_the_report_that_it_always_got(judged):
    report = json.loads((judged / "eval" / "report.json").read_text())
    assert "short_windows" not in report
    assert not any("short" in criterion["name"] for criterion in report["verdict"]["criteria"])
    for reading in ("report.md", "report.html"):
        assert "short windows" not in (judged / "eval" / reading).read_text().lower()


def test_another_margin_is_another_evaluation(main, pair, eval_config):
    config = eval_config(main=main)
    one = stage_of(config, main, pair[1], "fp32").inputs
    replace(TRAINED, short_windows=replace(TRAINED.short_windows, margin=1.0)).save(main)
    assert stage_of(config, main, pair[1], "fp32").inputs != one
    (main / "capabilities.json").unlink()
    assert "short_windows" not in stage_of(config, main, pair[1], "fp32").inputs  # as of reports before there were any
