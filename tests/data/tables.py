"""A source read as training and as test data."""

import pytest

from whisper_pair.config.schema import Data, Source
from whisper_pair.data.corpus import load_test_clips, load_training_clips
from whisper_pair.errors import InputError

WAYS = ("training", "test")


def data(**more) -> Data:
    return Data(**{"train": (), "validation": (), "test": ()} | more)


def clips_of(source: Source, way: str, **more) -> list:
    if way == "training":
        return load_training_clips([source], data(**more), 30).clips
    return load_test_clips([source], data(**more), 30, "test")


def refusal(source: Source, way: str, **more) -> str:
    with pytest.raises(InputError) as refused:
        clips_of(source, way, **more)
    assert "\n" not in str(refused.value)
    return str(refused.value)
