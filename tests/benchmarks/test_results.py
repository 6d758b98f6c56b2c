"""A benchmark's command as it stands in its result: what others can type, without folders of the machine it ran on."""

import shlex

import pytest

from benchmarks.results import without, without_folders


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/me/whisper-base", "whisper-base"),
        ("model=/home/me/whisper-base", "model=whisper-base"),
        ("demo=/a/main,/a/b/assistant,outputs/test", "demo=main,assistant,outputs/test"),
        ("data.train=[{folder: /a/dutch/train, speaker: speaker}]", "data.train=[{folder: train, speaker: speaker}]"),
        ("configs/real-dutch-base.yaml", "configs/real-dutch-base.yaml"),
        ("openai/whisper-base", "openai/whisper-base"),
        ("1/2", "1/2"),
    ],
)
def test_only_folders_from_the_root_are_left_out(given, kept):
    assert without_folders(given) == kept


def test_an_option_is_left_out_with_its_value():
    assert without(["--out", "/tmp/x.json", "a b=/c/d", "--seeds", "0"], "--out") == ["a b=d", "--seeds", "0"]
    assert shlex.join(without(["a b=/c/d"])) == "'a b=d'"
