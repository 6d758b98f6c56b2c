"""A main evaluated without an assistant."""

import html
import json

import pytest

from whisper_pair.commands.evaluate import config_from_arguments
from whisper_pair.config.load import load_config
from whisper_pair.errors import InputError
from whisper_pair.report.schema import problems


def test_a_main_alone_gets_its_errors_and_its_speed(pair, demo_data, tmp_path, command):
    arguments = [
        "--main",
        pair[0],
        "--data",
        demo_data / "test",
        "--language",
        "nl",
        "--out",
        tmp_path / "out",
        "--limit",
        3,
    ]
    settings = ["eval.timed_clips=2", "eval.repeats=1", "eval.batch_sizes=[1]"]
    done = command("-m", "whisper_pair.cli", "evaluate", *arguments, *settings)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "eval" / "report.json").read_text())
    assert problems(report, "main") == []
    assert {(row["engine"], row["mode"]) for row in report["speed"]["rows"]} >= {
        ("pair", "greedy"), ("transformers", "greedy"),
    }  # fmt: skip
    assert all(row["identical"] == 2 for row in report["speed"]["rows"])  # transformers writes the same
    errors = sum(row["main"]["errors"] for row in report["utterances"])
    assert report["quality"]["main"]["rate"] == errors / sum(row["length"] for row in report["utterances"])
    sentence = next(line for line in done.stdout.splitlines() if line.startswith("This model's WER is"))
    for reading in ("report.md", "report.html"):
        text = (tmp_path / "out" / "eval" / reading).read_text()
        assert sentence.split(" on ")[0] in html.unescape(text).replace("\\", "")
    assert f"report: {tmp_path}/out/eval/report.html" in done.stdout
    again = command("-m", "whisper_pair.cli", "evaluate", *arguments, *settings)
    assert "already evaluated" in again.stdout
    assert sentence in again.stdout


@pytest.mark.parametrize("assistant", [None, "assistant"])
def test_evaluate_needs_no_assistant_and_takes_one(assistant, tmp_path):
    import argparse

    arguments = argparse.Namespace(
        main="main", assistant=assistant, data=str(tmp_path), text="text", speaker=None, language="nl",
        task="transcribe", out=str(tmp_path), limit=None, quick=False,
    )  # fmt: skip
    assert config_from_arguments(arguments)["eval"] == {"assistant": assistant, "main_alone": assistant is None}


def test_a_main_alone_has_no_assistant_and_nothing_to_train(tmp_path, write_config):
    file = write_config(tmp_path / "pair.yaml", eval={"main_alone": True})
    with pytest.raises(
        InputError, match=r"eval\.main_alone: expected false where there is an assistant or a main to train"
    ):
        load_config(file)
