"""Other tools read a checkpoint's tokens and mel bins from files of their own, which say what transformers' say."""

import json

import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperProcessor, WhisperTokenizer

from whisper_pair.checkpoints.load import load_processor, save_processor

FILES = ("preprocessor_config.json", "vocab.json", "merges.txt", "added_tokens.json")


@pytest.fixture(scope="module")
def written(demo_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("main")
    save_processor(load_processor(demo_data / "micro-whisper"), folder)
    return folder


def test_tokens_are_those_of_the_tokenizer(written):
    tokenizer = WhisperProcessor.from_pretrained(written).tokenizer
    vocabulary, added = (json.loads((written / name).read_text()) for name in ("vocab.json", "added_tokens.json"))
    assert not vocabulary.keys() & added.keys()
    assert vocabulary | added == tokenizer.get_vocab()
    assert list(vocabulary.values()) == list(range(len(vocabulary)))  # whisper.cpp counts them
    assert vocabulary["<|endoftext|>"] == len(vocabulary) - 1
    assert min(added.values()) == len(vocabulary)


def test_the_old_files_alone_make_the_same_tokenizer(written, tmp_path):
    for name in FILES[1:]:
        (tmp_path / name).write_bytes((written / name).read_bytes())
    old, new = (WhisperTokenizer.from_pretrained(folder) for folder in (tmp_path, written))
    text = " Goedemorgen, één 日本 <|nl|>"
    assert old(text).input_ids == new(text).input_ids
    assert old.get_vocab() == new.get_vocab()


@pytest.mark.parametrize("bins", [80, 128])
def test_mel_bins_are_where_other_tools_look_for_them(demo_data, tmp_path, bins):
    processor = load_processor(demo_data / "micro-whisper")
    processor.feature_extractor = WhisperFeatureExtractor(feature_size=bins, chunk_length=4)
    save_processor(processor, tmp_path)
    found = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert (found["feature_size"], found["chunk_length"]) == (bins, 4)
    assert WhisperProcessor.from_pretrained(tmp_path).feature_extractor.feature_size == bins


def test_transformers_loads_the_same_with_them_and_without(written, tmp_path):
    for file in written.iterdir():
        if file.name not in FILES:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with_them, without = (load_processor_of(folder) for folder in (written, tmp_path))
    assert with_them.tokenizer.get_vocab() == without.tokenizer.get_vocab()
    wave = torch.zeros(16_000).numpy()
    features = [p.feature_extractor(wave, sampling_rate=16_000).input_features for p in (with_them, without)]
    assert (features[0] == features[1]).all()


def load_processor_of(folder) -> WhisperProcessor:
    return WhisperProcessor.from_pretrained(folder)
