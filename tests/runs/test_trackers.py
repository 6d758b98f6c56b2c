"""Each stage is one run of its tracker, named and grouped by the output, with figures and audio beside its drafts."""

import re

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from whisper_pair.config import load_config
from whisper_pair.runs import AudioExample, log_audio, start_tracker

EXAMPLES = [AudioExample("a.wav", np.zeros(1600, np.float32), "de ~~hond~~ **kat**")]


@pytest.fixture
def configured(write_config, tmp_path):
    def of(tracker: str):
        config = load_config(write_config(tmp_path / "pair.yaml", tracker=tracker, output=str(tmp_path / "dutch")))
        (tmp_path / "dutch").mkdir()
        return config, tmp_path / "dutch" / "main.partial"

    return of


def events(folder) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"audio": 0})
    found.Reload()
    return found


def test_tensorboard_gets_a_folder_a_stage_that_a_resumed_stage_goes_on_in(configured, tmp_path):
    config, work = configured("tensorboard")
    for step in (1, 2):  # the second time the stage goes on
        tracker = start_tracker(config, "train", work)
        tracker.log({"loss": 1.0 / step}, step=step)
        log_audio(tracker, EXAMPLES, step)
        tracker.finish()
    assert [folder.name for folder in (tmp_path / "dutch" / "logs").iterdir()] == ["train"]
    found = events(tmp_path / "dutch" / "logs" / "train")
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
    assert [event.sample_rate for event in found.Audio("example-0")] == [16_000.0] * 2
    text = found.Tensors("example-0/text_summary")[0].tensor_proto.string_val[0].decode()
    assert text == "`a.wav` de ~~hond~~ **kat**"
    assert "language: nl" in found.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()


def test_a_stage_that_starts_again_replaces_its_own_log(configured, tmp_path):
    config, work = configured("tensorboard")
    for folder in (work, tmp_path / "dutch" / "other.partial"):  # another work folder: the results are made again
        tracker = start_tracker(config, "train", folder)
        tracker.log({"loss": 1.0}, step=1)
        tracker.finish()
    assert len(events(tmp_path / "dutch" / "logs" / "train").Scalars("loss")) == 1


def test_wandb_gets_one_run_a_stage_named_and_grouped_by_the_output(configured, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    config, work = configured("wandb")
    seen = []
    for step in (1, 2):
        tracker = start_tracker(config, "distill", work)
        run = tracker.tracker
        seen.append((run.project, run.group, run.name, run.job_type, run.id))
        assert run.config["language"] == "nl"
        tracker.log({"loss": 1.0, "loss_kl": 0.5}, step=step)
        log_audio(tracker, EXAMPLES, step)
        tracker.finish()
    assert seen[0][:4] == ("whisper-pair", "dutch", "dutch-distill", "distill")
    assert re.fullmatch(r"distill-[0-9a-f]{8}", seen[0][4])
    assert seen[0] == seen[1]  # the second one goes on in the first
    assert list((tmp_path / "dutch" / "logs" / "wandb").rglob("*.wav"))
