"""The configs that we ship: every pair, and every launcher file of accelerate."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from whisper_pair.config.load import dump_config, load_config

ROOT = Path(__file__).resolve().parents[2]
PAIRS = sorted((ROOT / "configs").glob("*.yaml"))
LAUNCHERS = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))
MISSION = [ROOT / "configs" / f"{name}.yaml" for name in ("dutch", "german", "english", "hindi", "japanese")]

SPLITS = ("train", "validation", "test")


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def header(path: Path) -> str:
    """The comment lines that open the file, as one line of text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.lstrip("#").strip() for line in lines[:end])


# The shipped pairs


@named(PAIRS)
def test_every_shipped_config_is_valid(path):
    load_config(path)


@named(PAIRS)
def test_every_shipped_config_survives_being_resolved_and_read_again(path, tmp_path):
    config = load_config(path)
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "config.yaml") == config


@named(PAIRS + LAUNCHERS)
def test_every_config_opens_with_a_comment_that_shows_how_to_launch_it(path):
    text = header(path)
    assert "accelerate launch" in text or "make " in text or "whisper-pair run" in text
    for launcher in re.findall(r"configs/accelerate/\w+\.yaml", text):
        assert (ROOT / launcher).is_file(), launcher


@named(MISSION)
def test_a_mission_config_says_what_it_costs_and_what_is_not_known(path):
    text = header(path).lower()
    expected = (
        "hours",
        "gpu of 80 gb",
        "cc by",
        "style:",
        "not yet measured",
        "not verified",
        f"-m train configs/{path.name}",
    )
    assert [words for words in expected if words not in text] == []


@named(MISSION)
def test_a_mission_config_distils_two_layers_of_large_v3(path):
    config = load_config(path)
    assert config.model == "openai/whisper-large-v3"
    assert config.distill.layers == (0, 31)
    assert config.train.precision == config.distill.precision == "auto"  # bf16 on the GPU that they are meant for
    assert config.tracker == "wandb"


@named(MISSION)
def test_a_mission_config_names_only_corpora_that_still_load(path):
    data = load_config(path).data
    for source in (*data.train, *data.validation, *data.test):
        assert "common_voice" not in source.hub  # left the Hub in October 2025
        assert source.hub != "reazon-research/reazonspeech"  # a loading script
        if source.hub == "google/fleurs":
            assert source.revision == "refs/convert/parquet"  # main is a loading script
            assert source.text == "raw_transcription"  # as it was written
        if source.hub == "facebook/multilingual_librispeech":
            assert source.text is None  # lower case without punctuation
        if source.hub == "facebook/voxpopuli":
            assert source.text is None or source not in data.train  # the same


@named(PAIRS)
def test_no_config_is_judged_on_what_it_trains_on(path):
    data = load_config(path).data
    train, validation, test = ({dataclasses.replace(s, text=None) for s in getattr(data, split)} for split in SPLITS)
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_no_two_configs_write_into_one_folder():
    outputs = [load_config(path).output for path in PAIRS]
    assert len(set(outputs)) == len(outputs)


# The launcher files


@named(LAUNCHERS)
def test_accelerate_reads_every_launcher_file(path):
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

    launcher = load_config_from_file(str(path))
    assert isinstance(launcher, ClusterConfig)
    assert launcher.mixed_precision == "no"  # precision belongs to the pair's config
    assert launcher.num_processes >= 1


@named(LAUNCHERS)
def test_every_key_of_a_launcher_file_is_an_option_of_accelerate_launch(path):
    from accelerate.commands.launch import launch_command_parser

    options = {action.dest for action in launch_command_parser()._actions}
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(tree.get("fsdp_config", {})) <= options


def test_the_fsdp_file_shards_the_layer_that_main_and_assistant_share(monkeypatch):
    from accelerate.utils import FullyShardedDataParallelPlugin
    from transformers.models.whisper import modeling_whisper

    settings = yaml.safe_load((ROOT / "configs/accelerate/fsdp2.yaml").read_text(encoding="utf-8"))["fsdp_config"]
    assert hasattr(modeling_whisper, settings["fsdp_transformer_layer_cls_to_wrap"])
    for name, value in settings.items():
        name = name.upper().replace("LAYER_CLS", "CLS")
        monkeypatch.setenv(name, str(value))
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.transformer_cls_names_to_wrap == ["WhisperDecoderLayer"]
    assert not plugin.cpu_ram_efficient_loading


def test_the_cpu_file_starts_two_processes_that_know_of_each_other(tmp_path):
    (tmp_path / "count.py").write_text("from accelerate import Accelerator\nprint('of', Accelerator().num_processes)\n")
    launcher = ROOT / "configs/accelerate/cpu.yaml"
    command = ["accelerate.commands.launch", "--config_file", str(launcher), "--main_process_port", "0", "-m", "count"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE_", "FSDP_"))}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env=inherited | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.sub(r"\s+", "", done.stdout) in ("of2of2", "ofof22"), done.stdout
