"""Changes to a micro checkpoint, and the speech that it transcribes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AddedToken, WhisperForConditionalGeneration, WhisperProcessor

from whisper_pair import Pair
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.errors import InputError

RATE = 16_000


def edit(folder: Path, file: str = "generation_config.json", **changes) -> None:
    """None removes a key."""
    tree = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps({key: value for key, value in tree.items() if value is not None}))


def generation_config(folder: Path) -> dict:
    return json.loads((folder / "generation_config.json").read_text())


def speech(pitch: int = 3, seconds: float = 2.0) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * (120 + 17 * pitch) * t) * (1 + 0.5 * np.sin(6 * np.pi * t))).astype(np.float32)


def add_words(folder: Path, *words: str, resize: bool = True, **settings) -> None:
    """As its owner does it: add_tokens and resize_token_embeddings."""
    processor = WhisperProcessor.from_pretrained(folder)
    processor.tokenizer.add_tokens([AddedToken(word, **settings) for word in words] if settings else list(words))
    processor.save_pretrained(folder)
    if resize:
        model = WhisperForConditionalGeneration.from_pretrained(folder)
        model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
        model.generation_config._from_model_config = False
        model.save_pretrained(folder)


def refused(match: str, folder: Path) -> None:
    """Everywhere."""
    doors = (
        load_processor,
        lambda place: load_main(place, torch.float32),
        lambda place: Pair.from_pretrained(str(place), None),
    )
    for door in doors:
        with pytest.raises(InputError, match=match) as caught:
            door(folder)
        assert "\n" not in str(caught.value)
