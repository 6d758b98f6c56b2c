"""A corpus in lower case gets its style back from the checkpoint that training starts from, where the words agree."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.corpora import write_table
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints.load import load_processor
from whisper_pair.config.load import load_config
from whisper_pair.data.corpus import Corpus, load_training_clips
from whisper_pair.data.fingerprints import fingerprint
from whisper_pair.errors import InputError
from whisper_pair.text.normalization import basic_normalize
from whisper_pair.training import restored_style
from whisper_pair.training.restored_style import NOT_RESTORED, with_restored_style

WRITTEN = [f"Zin {word}, zegt Anna." for word in ("een", "twee", "drie", "vier", "vijf", "zes", "zeven", "acht")]
TEXTS = [basic_normalize(text) if i % 2 == 0 else "heel andere woorden" for i, text in enumerate(WRITTEN)]


@pytest.fixture(scope="module")
def lower_cased(demo_data, tmp_path_factory) -> Path:
    """Eight clips with TEXTS, of which every other one is what the checkpoint writes, in lower case."""
    folder = tmp_path_factory.mktemp("lower") / "train"
    folder.mkdir()
    for i in range(8):
        shutil.copy(demo_data / "train" / f"{i:05d}.wav", folder)
    write_table(folder / "metadata.csv", [{"file_name": f"{i:05d}.wav", "text": text} for i, text in enumerate(TEXTS)])
    return folder


def config_over(write_config, pair, folder: Path, tmp_path: Path):
    source = {"folder": str(folder), "restore_style": True}
    return load_config(write_config(tmp_path / "pair.yaml", model=str(pair[0]), data={"train": [source]}))


def test_texts_that_differ_in_case_and_punctuation_alone_take_the_transcript(
    write_config, pair, lower_cased, tmp_path, caplog, monkeypatch
):
    config = config_over(write_config, pair, lower_cased, tmp_path)
    processor = load_processor(pair[0])
    log_mel = LogMel(processor.feature_extractor)
    transcripts = iter(WRITTEN)  # of a checkpoint that can write, which the untrained one here cannot
    monkeypatch.setattr(restored_style, "text_of", lambda tokenizer, tokens: f" {next(transcripts)}")

    def restored() -> Corpus:
        corpus = load_training_clips(config.data.train, config.data, log_mel.seconds)
        return with_restored_style(corpus, config, pair[0], torch.float32, log_mel, processor.tokenizer)

    corpus = restored()
    assert [clip.text for clip in corpus.clips] == WRITTEN[::2]
    assert corpus.dropped[NOT_RESTORED] == 4
    assert "restored the style of 4 of 8 texts; the rest serve the assistant" in caplog.text
    monkeypatch.setattr(restored_style, "Engine", None)  # the second time nothing is decoded
    assert restored().clips == corpus.clips


def test_a_source_that_keeps_its_texts_costs_nothing(write_config, pair, lower_cased, tmp_path, monkeypatch):
    config = config_over(write_config, pair, lower_cased, tmp_path)
    plain = [replace(source, restore_style=False) for source in config.data.train]
    corpus = load_training_clips(plain, config.data, 4.0)
    before = list(corpus.clips)
    monkeypatch.setattr(restored_style, "_transcripts", None)
    assert with_restored_style(corpus, config, pair[0], torch.float32, None, None).clips == before
    assert fingerprint(plain) != fingerprint(config.data.train)


def test_only_training_texts_are_restored(write_config, tmp_path):
    path = write_config(tmp_path / "pair.yaml")
    for key in ("data.validation.0", "data.test.0"):
        with pytest.raises(InputError, match=r"restore_style: expected true only in data\.train, beside a text"):
            load_config(path, [f"{key}.restore_style=true"])
    with pytest.raises(InputError, match="beside a text"):
        load_config(path, ["data.train.0.restore_style=true", "data.train.0.text=null"])
