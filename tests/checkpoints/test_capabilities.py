"""capabilities.json says what a checkpoint was trained to do; without it nothing is known."""

import json
from dataclasses import asdict, replace

import pytest

from whisper_pair.checkpoints import CAPABILITIES_FILE, Capabilities, ShortWindows
from whisper_pair.errors import InputError

TRAINED = Capabilities(timestamps=0.5, previous_text=0.0, tasks=("transcribe",), languages=("nl", "de"))


def test_what_is_saved_beside_a_checkpoint_is_loaded_again(tmp_path):
    TRAINED.save(tmp_path)
    assert Capabilities.load(tmp_path) == TRAINED
    assert TRAINED.writes_timestamps
    assert not TRAINED.takes_previous_text


def test_short_windows_are_recorded_and_files_from_before_them_mean_full_windows(tmp_path):
    short = replace(TRAINED, short_windows=ShortWindows(0.8, 0.3, 2.0, 1.0))
    short.save(tmp_path)
    assert Capabilities.load(tmp_path) == short
    file = tmp_path / CAPABILITIES_FILE
    before = json.loads(file.read_text())
    del before["short_windows"]
    file.write_text(json.dumps(before))
    assert Capabilities.load(tmp_path) == TRAINED


def test_of_a_checkpoint_made_elsewhere_nothing_is_known(tmp_path):
    assert Capabilities.load(tmp_path) is None


def test_keys_of_a_later_version_are_left_unread(tmp_path):
    TRAINED.save(tmp_path)
    file = tmp_path / CAPABILITIES_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"words": True}))
    assert Capabilities.load(tmp_path) == TRAINED


@pytest.mark.parametrize(
    "change",
    [
        {"timestamps": 2},
        {"timestamps": "often"},
        {"timestamps": float("nan")},
        {"languages": 3},
        {"languages": "nl"},
        {"tasks": [1]},
        {"short_windows": True},
        {"short_windows": {"share": 0.8}},
        {"timestamps": True},
        {"timestamps": 10**400},
        *(
            {"short_windows": asdict(ShortWindows(0.8, 0.3, 2.0, 1.0)) | wrong}
            for wrong in (
                {"margin_low": -1},
                {"margin_high": 10**400},
                {"share": 0},
                {"share": True},
                {"margin": 2.5},  # longer than any that was trained
                {"margin": 0.2},
                {"margin_high": 0.1},
            )
        ),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_by_its_name(tmp_path, change):
    TRAINED.save(tmp_path)
    file = tmp_path / CAPABILITIES_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=r"capabilities\.json"):
        Capabilities.load(tmp_path)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / CAPABILITIES_FILE).write_text("{")
    with pytest.raises(InputError, match="expected the shares"):
        Capabilities.load(tmp_path)
