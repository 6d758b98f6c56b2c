"""How a config is read: files that are none, overrides on the command line, and the home folder."""

import pytest
import yaml

from tests.config.smallest_config import SMALLEST, changed
from whisper_pair.config.load import load_config
from whisper_pair.config.schema import SpecAugment
from whisper_pair.errors import InputError

# Files that are no config


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read \(No such file"):
        load_config(tmp_path / "absent.yaml")


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "speech", "7", "null"])
def test_a_file_without_keys_is_refused(write, text):
    with pytest.raises(InputError, match="expected keys and values at the top"):
        load_config(write(text))


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", "\ta: 1", "a: *nowhere", "{[1]: 2}", "a: !!python/name:os.system x"]
)
def test_broken_yaml_is_refused_in_one_line(write, text):
    with pytest.raises(InputError, match="is not valid YAML") as refusal:
        load_config(write(text))
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("language: bokmål".encode("latin-1"))
    with pytest.raises(InputError, match="is not valid YAML"):
        load_config(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("seed: 0\noutput: 2026-13-40\n", id="a date that does not exist"),
        pytest.param(f"train:\n  epochs: 1{'0' * 400}\n", id="a whole number too large for a float"),
        pytest.param(f"seed: 1{'0' * 5000}\n", id="a whole number too long for Python to read"),
        pytest.param(f"language: {'[' * 5000}\n", id="brackets without end"),
    ],
)
def test_yaml_that_python_itself_stumbles_over_is_refused_like_any_other(write, text):
    with pytest.raises(InputError):
        load_config(write(text + yaml.safe_dump({k: v for k, v in SMALLEST.items() if k not in text})))


# Overrides


@pytest.mark.parametrize(
    ("override", "value_of", "value"),
    [
        ("language=de", lambda c: c.language, "de"),
        ("language='no'", lambda c: c.language, "no"),
        ("seed=7", lambda c: c.seed, 7),
        ("revision=null", lambda c: c.revision, None),
        ("revision=main", lambda c: c.revision, "main"),
        ("train.learning_rate=3e-4", lambda c: c.train.learning_rate, 3e-4),
        ("train.lora.rank=8", lambda c: c.train.lora.rank, 8),
        ("train.lora.targets=[q_proj, v_proj]", lambda c: c.train.lora.targets, ("q_proj", "v_proj")),
        ("train.spec_augment={}", lambda c: c.train.spec_augment, SpecAugment()),
        ("train.spec_augment.time_masks=4", lambda c: c.train.spec_augment, SpecAugment(time_masks=4)),
        ("data.train.0.folder=elsewhere", lambda c: c.data.train[0].folder, "elsewhere"),
        ("data.train.0.text=null", lambda c: c.data.train[0].text, None),
        ("data.train.0={hub: a/b}", lambda c: c.data.train[0].hub, "a/b"),
        ("distill.layers=[0, 3, 5]", lambda c: c.distill.layers, (0, 3, 5)),
        ("distill.max_label_error=0.5", lambda c: c.distill.max_label_error, 0.5),
        ("output=a=b", lambda c: c.output, "a=b"),
    ],
)
def test_any_key_can_be_overridden(smallest, override, value_of, value):
    assert value_of(load_config(smallest, [override])) == value


def test_the_last_override_of_a_key_holds(smallest):
    assert load_config(smallest, ["seed=1", "seed=2"]).seed == 2


def test_an_override_can_switch_off_what_the_file_switches_on(write):
    path = write(changed("train.spec_augment", {"time_masks": 4}))
    assert load_config(path).train.spec_augment == SpecAugment(time_masks=4)
    assert load_config(path, ["train.spec_augment=null"]).train.spec_augment is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rat=1", r"^train\.learning_rat: unknown key; the nearest known one is train\.learning_rate\."),
        ("nothing.at.all=1", r"^nothing: unknown key"),
        (
            "train.learning_rate=fast",
            r"^train\.learning_rate: expected a number",
        ),
        ("train.learning_rate=", r"^train\.learning_rate: expected a number"),
        ("data.train.1.folder=x", r"^data\.train\.1: expected an index from 0 to 0"),
        ("data.train.first.folder=x", r"^data\.train\.first: expected an index"),
        ("data.train.-1=x", r"^data\.train\.-1: expected an index"),
        ("language.code=nl", r"language"),
        ("language.code.short=nl", r"language"),
        ("train.learning_rate", r"expected an override of the form key\.sub=value"),
        ("=3", r"expected an override of the form key\.sub=value"),
        ("seed=[1", r"^seed: '\[1' is not a YAML value"),
        ("language=no", r"^language: .*Norwegian"),
    ],
)
def test_a_wrong_override_is_refused_by_its_full_path(smallest, override, message):
    with pytest.raises(InputError, match=message):
        load_config(smallest, [override])


def test_a_tilde_in_a_path_is_the_home_folder(write_config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    config = load_config(write_config(tmp_path / "pair.yaml"), ["output=~/out", "data.cache=~/cache"])
    assert (config.output, config.data.cache) == (str(tmp_path / "me" / "out"), str(tmp_path / "me" / "cache"))
    assert load_config(write_config(tmp_path / "pair.yaml"), ["output=~/out"]).data.cache == f"{config.output}/data"
