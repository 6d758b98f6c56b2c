"""Runs that an older version made: a setting that it did not know counts as its default."""

from copy import deepcopy
from pathlib import Path

import pytest

from whisper_pair.config import Data, Distill, Eval, Train, plain
from whisper_pair.data import windowing_settings
from whisper_pair.errors import InputError
from whisper_pair.runs import Stage, as_json, write_json
from whisper_pair.runs.stages import with_later_settings
from whisper_pair.training import deciding_settings

CONFIG = {
    "train": deciding_settings(plain(Train())) | {"precision": "fp32"},
    "data": windowing_settings(Data((), (), ())),
    "distill": deciding_settings(plain(Distill())),
    "eval": plain(Eval()),
}
INPUTS = as_json({"language": "nl", "main": {"model.safetensors": "aa"}, **CONFIG})


def recorded(folder: Path, inputs: dict) -> None:
    folder.mkdir(parents=True)
    (folder.parent / "config.yaml").touch()
    write_json(folder / "inputs.json", inputs)


def without(path: str) -> dict:
    found = deepcopy(INPUTS)
    *sections, key = path.split(".")
    node = found
    for section in sections:
        node = node[section]
    del node[key]
    return found


LATER = ("eval.main_alone", "eval.require.agreement", "distill.losses.eta", "data.special_tokens", "train.lora.encoder")


@pytest.mark.parametrize("path", LATER)
@pytest.mark.parametrize("unfinished", [False, True])
def test_a_setting_that_a_run_did_not_know_counts_as_its_default(tmp_path, path, unfinished):
    stage = Stage(tmp_path / "eval", INPUTS)
    recorded(stage.work if unfinished else stage.folder, without(path))
    stage.refuse_other_inputs(overwrite=False)
    assert stage.finished() == (not unfinished)


def test_what_was_done_before_the_setting_of_timestamps_counts_and_not_the_default_of_today(tmp_path):
    assert with_later_settings(without("data.timestamps"), INPUTS)["data"]["timestamps"] == 0.0
    recorded(tmp_path / "main", without("data.timestamps"))
    old = deepcopy(INPUTS)
    old["data"]["timestamps"] = 0.0
    assert Stage(tmp_path / "main", old).finished()
    with pytest.raises(InputError) as refused:
        Stage(tmp_path / "main", INPUTS).refuse_other_inputs(overwrite=False)
    assert str(refused.value) == (
        f"{tmp_path}/main: was made with data.timestamps = 0.0, not 0.5; to keep it, add data.timestamps=0.0; choose "
        "another output, or add --overwrite to replace it."
    )


def test_an_assistants_labels_are_known_in_the_same_way(tmp_path):
    inputs = {"labels": INPUTS, "distill": INPUTS["distill"]}
    recorded(tmp_path / "assistant", inputs | {"labels": without("data.special_tokens")})
    assert Stage(tmp_path / "assistant", inputs).finished()
    recorded(tmp_path / "other", inputs | {"labels": without("data.timestamps")})
    with pytest.raises(InputError, match=r"; to keep it, add data\.timestamps=0\.0; ") as refused:
        Stage(tmp_path / "other", inputs).refuse_other_inputs(overwrite=False)
    assert "was made with labels.data.timestamps = 0.0, not 0.5" in str(refused.value)


@pytest.mark.parametrize(
    ("section", "key", "value", "hint"),
    [
        ("eval", "batch_sizes", [1], ""),  # a list is many words to a shell
        ("train", "windows_per_process", 3, ""),  # no key of a config
        ("train", "precision", "bf16", "; to keep it, add train.precision=bf16"),
        ("main", "model.safetensors", "bb", ""),
    ],
)
def test_the_way_to_keep_results_is_named_where_one_value_of_the_config_does_it(tmp_path, section, key, value, hint):
    old = deepcopy(INPUTS)
    old[section][key] = value
    recorded(tmp_path / "eval", old)
    with pytest.raises(InputError) as refused:
        Stage(tmp_path / "eval", INPUTS).refuse_other_inputs(overwrite=False)
    assert ("to keep it" in str(refused.value)) == bool(hint)
    assert hint in str(refused.value)
