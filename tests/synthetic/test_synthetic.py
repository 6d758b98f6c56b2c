"""Synthetic data: the same bytes every time, no sentence in two splits, and a stock micro Whisper."""

import csv
import hashlib
import itertools
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor, WhisperTokenizer

from whisper_pair import synthetic
from whisper_pair.errors import InputError
from whisper_pair.synthetic import speech
from whisper_pair.synthetic.grammar import distinct_sentences
from whisper_pair.synthetic.micro import MicroWhisper

SMALL = synthetic.Settings(clips=6, validation=2, test=3)


@pytest.fixture(scope="module")
def demo_data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("synthetic")
    assert synthetic.synthesize(out, SMALL)
    return out


@pytest.fixture(scope="module")
def checkpoint(demo_data):
    folder = demo_data / synthetic.CHECKPOINT
    return AutoModelForSpeechSeq2Seq.from_pretrained(folder), AutoProcessor.from_pretrained(folder)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_settings_give_the_same_bytes(demo_data, tmp_path):
    assert synthetic.synthesize(tmp_path / "again", SMALL)
    assert digests(tmp_path / "again") == digests(demo_data)


def test_another_seed_gives_other_sentences_and_another_voice():
    first, second = (speech.plan({"train": 20}, seed, window=4)["train"] for seed in (0, 1))
    assert {clip.text for clip in first}.isdisjoint(clip.text for clip in second)


def test_no_held_out_sentence_is_in_training():
    counts = {"test": 300, "validation": 300, "train": 5000}
    splits = speech.plan(counts, seed=0, window=4)
    texts = {split: {clip.text.lower().rstrip(".?") for clip in clips} for split, clips in splits.items()}
    assert {split: len(found) for split, found in texts.items()} == counts
    assert len(set.union(*texts.values())) == sum(counts.values())


def test_every_clip_is_sixteen_kilohertz_mono_and_fits_the_window(demo_data):
    for split in synthetic.SPLITS:
        named = rows(demo_data / split)
        assert sorted(row["file_name"] for row in named) == sorted(p.name for p in (demo_data / split).glob("*.wav"))
        for row in named:
            info = soundfile.info(demo_data / split / row["file_name"])
            assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
            assert 0.5 < info.duration <= SMALL.window
            assert row["text"]
            assert row["speaker"].startswith("synthetic-nl-")


def test_the_longest_sentences_fit_the_window_in_every_voice(tmp_path):
    longest = sorted(distinct_sentences(Random(0), 5000), key=len)[-len(speech.SPEAKERS) :]
    clips = [speech._clip(Random(0), f"{i}.wav", text, SMALL.window) for i, text in enumerate(longest)]
    clips = [replace(clip, speaker=name) for clip, name in zip(clips, speech.SPEAKERS, strict=True)]
    speech.speak(tmp_path, {"train": clips}, SMALL.window)  # raises where one does not


def test_noise_has_unit_power_and_the_requested_colour():
    brown = speech.noise(40000, 2.0, np.random.default_rng(0))
    assert np.mean(brown**2) == pytest.approx(1)
    power = np.abs(np.fft.rfft(brown)) ** 2
    frequency = np.fft.rfftfreq(40000, 1 / speech.SAMPLE_RATE)
    octaves = [power[(frequency >= low) & (frequency < 2 * low)].mean() for low in (200, 400, 800, 1600)]
    for lower, higher in itertools.pairwise(octaves):
        assert lower / higher == pytest.approx(4, rel=0.5)  # 6 dB an octave


def test_a_second_call_finds_its_work_done(demo_data):
    before = {path: path.stat().st_mtime_ns for path in demo_data.rglob("*")}
    assert synthetic.synthesize(demo_data, SMALL) is False
    assert {path: path.stat().st_mtime_ns for path in demo_data.rglob("*")} == before


def test_other_data_is_not_replaced_unless_requested(demo_data, tmp_path, capsys):
    assert synthetic.main([str(demo_data), "--clips", "7"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="not made by this command"):
        synthetic.synthesize(tmp_path, SMALL)


def test_interrupted_work_is_done_again(demo_data, tmp_path):
    synthetic.synthesize(tmp_path / "whole", SMALL)
    manifest = tmp_path / "whole" / synthetic.MANIFEST
    manifest.write_text(manifest.read_text().replace('"complete": true', '"complete": false'))
    (tmp_path / "whole" / "test" / "metadata.csv").unlink()
    assert synthetic.synthesize(tmp_path / "whole", SMALL)
    assert digests(tmp_path / "whole") == digests(demo_data)


def test_without_espeak_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match="pip install espeakng-loader"):
        speech.Espeak()


def test_special_tokens_stand_in_whispers_order(checkpoint):
    tokenizer, size = checkpoint[1].tokenizer, MicroWhisper()
    assert type(tokenizer) is WhisperTokenizer
    names = ["endoftext", "startoftranscript", "en", "zh"]
    assert tokenizer.convert_tokens_to_ids([f"<|{name}|>" for name in names]) == [size.vocabulary + i for i in range(4)]
    names = ["yue", "translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps", "0.00"]
    ids = tokenizer.convert_tokens_to_ids([f"<|{name}|>" for name in names])
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert tokenizer.all_special_ids[-1] == ids[-2]  # the tokenizer takes what follows for timestamps
    assert tokenizer.convert_ids_to_tokens(len(tokenizer) - 1) == "<|4.00|>"


def test_a_sentence_survives_the_vocabulary(checkpoint):
    tokenizer = checkpoint[1].tokenizer
    tokenizer.set_prefix_tokens(language="dutch", task="transcribe", predict_timestamps=False)
    for text in [*distinct_sentences(Random(1), 50), "Ça va? Ünïcode €5!"]:
        ids = tokenizer(text).input_ids
        prompt = ["<|startoftranscript|>", "<|nl|>", "<|transcribe|>", "<|notimestamps|>"]
        assert tokenizer.convert_ids_to_tokens(ids[:4]) == prompt
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_checkpoint_holds_all_that_generate_reads(checkpoint):
    model, processor = checkpoint
    ids, config = processor.tokenizer.convert_tokens_to_ids, model.generation_config
    assert config.lang_to_id["<|nl|>"] == ids("<|nl|>")
    assert config.task_to_id == {task: ids(f"<|{task}|>") for task in ("transcribe", "translate")}
    assert config.no_timestamps_token_id == ids("<|notimestamps|>")
    assert config.begin_suppress_tokens == [ids("Ġ"), processor.tokenizer.eos_token_id]
    assert config.suppress_tokens[-2] == config.prev_sot_token_id == ids("<|startofprev|>")
    assert config.is_multilingual
    assert config.alignment_heads
    assert model.config.vocab_size == len(processor.tokenizer)


def test_stock_generate_runs_on_the_checkpoint(demo_data, checkpoint, tmp_path):
    model, processor = checkpoint
    model.save_pretrained(tmp_path)
    model = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path)  # a second round trip loses nothing either
    audio = [soundfile.read(path)[0] for path in sorted((demo_data / "test").glob("*.wav"))]
    features = processor(audio, sampling_rate=16000, return_tensors="pt").input_features
    assert features.shape == (3, 80, 400)
    tokens = model.generate(features, language="nl", task="transcribe", max_new_tokens=8)
    assert tokens.shape[0] == 3
    stamped = model.generate(features, language="nl", task="transcribe", max_new_tokens=8, return_timestamps=True)
    assert (stamped >= processor.tokenizer.convert_tokens_to_ids("<|0.00|>")).any()


def test_building_a_checkpoint_leaves_the_callers_random_numbers_alone(tmp_path):
    from whisper_pair.synthetic import micro

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    micro.build(tmp_path, MicroWhisper(width=16, encoder_layers=1, decoder_layers=1), seed=0)
    assert torch.equal(torch.rand(3), expected)
