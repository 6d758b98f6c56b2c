"""A micro Whisper, and a copy of it that a test may change."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.checkpoints.micro_checkpoint import edit
from whisper_pair.synthetic.micro import MicroWhisper, build


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> Path:
    """A micro Whisper that says text of its own at every place, and ends it after nine tokens."""
    folder = tmp_path_factory.mktemp("stock") / "main"
    build(folder, MicroWhisper(decoder_layers=4, width=64), 1)
    weights = load_file(folder / "model.safetensors")
    words, places = weights["model.decoder.embed_tokens.weight"], weights["model.decoder.embed_positions.weight"]
    generator = torch.Generator().manual_seed(3)
    places.copy_(12 * words.std() * torch.randn(places.shape, generator=generator))
    end = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    words[end] = words.std() * torch.randn(words.shape[1], generator=generator)
    places[12:] = 60 * words[end]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    edit(folder, suppress_tokens=list(range(end + 1, words.shape[0])))
    return folder


@pytest.fixture
def main(stock, tmp_path) -> Path:
    return Path(shutil.copytree(stock, tmp_path / "main"))
