"""A finished run to publish, and Hubs on the loopback to publish it to."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.finished_run import write_run
from tests.hub_server import Hub
from tests.publishing.publishing import connected


@pytest.fixture(scope="module")
def run(demo_data, write_config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder / "output", demo_data / "micro-whisper", write_config(folder / "pair.yaml"), max_length=16)
    settings = folder / "output" / "main" / "generation_config.json"
    generation_config = json.loads(settings.read_text())
    vocabulary = json.loads((folder / "output" / "main" / "config.json").read_text())["vocab_size"]
    generation_config["suppress_tokens"] = sorted(
        {*generation_config["suppress_tokens"], *range(generation_config["eos_token_id"] + 1, vocabulary)}
    )
    settings.write_text(json.dumps(generation_config))  # an untrained main says nothing but timestamps else
    return folder / "output"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Takes large files by Git LFS, in one piece."""
    with connected(Hub(), monkeypatch, tmp_path) as hub:
        yield hub


@pytest.fixture
def xet_hub(monkeypatch, tmp_path):
    """Takes large files by Xet, as huggingface.co does."""
    with connected(Hub(xet=tmp_path / "storage"), monkeypatch, tmp_path) as hub:
        yield hub


@pytest.fixture
def own(run, tmp_path) -> Path:
    """A copy of the run that a test may spoil."""
    copy = shutil.copytree(run, tmp_path / "copy")
    settings = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "config.yaml").write_text(yaml.safe_dump(settings | {"output": str(copy)}))
    return copy
