"""`whisper-pair init`: a valid config for each of Whisper's languages, out of a table that agrees with the rest."""

import argparse
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from tests.conftest import ROOT
from tests.corpora import tone, wav, write_table
from tests.data.corpora_of_others import LAYOUTS, TEXTS, mls, put
from tests.data.test_layouts import clips_of
from whisper_pair.cli import main
from whisper_pair.commands import evaluate
from whisper_pair.commands.init import config_text
from whisper_pair.config.load import load_config
from whisper_pair.data.corpus import load_training_clips
from whisper_pair.errors import InputError
from whisper_pair.text.error_rates import metric_name
from whisper_pair.text.languages import corpora


def test_every_language_gets_a_config_that_loads(tmp_path):
    for code in LANGUAGES:
        path = tmp_path / f"{code}.yaml"
        path.write_text(config_text(code, "openai/whisper-large-v3", code))
        config = load_config(path)
        assert config.language == code
        assert [source.hub for source in config.data.train] == [corpus.hub for corpus in corpora(code)] or [None]
        assert all(len(line) <= 120 for line in path.read_text().splitlines())


@pytest.mark.parametrize(("code", "name"), [("nl", "dutch"), ("de", "german"), ("hi", "hindi"), ("ja", "japanese")])
def test_the_table_reads_the_corpora_as_the_shipped_configs_do(code, name):
    shipped = load_config(ROOT / "configs" / f"{name}.yaml").data.train
    names = [corpus.hub for corpus in corpora(code)]
    assert {source.hub for source in shipped} - {"ai4bharat/IndicVoices"} == {*names}  # its hours are not known
    for source in shipped:
        for known in corpora(code) if source.hub in names else []:
            if known.hub == source.hub:
                text = known.text if known.written else None  # in lower case: audio for the assistant
                assert (known.config, text, known.speaker, known.revision, known.audio or "audio") == (
                    source.config, source.text, source.speaker, source.revision, source.audio)  # fmt: skip


@pytest.mark.parametrize("given", ["Japanese", "JA", "日本語", "ja-JP"])
def test_the_metric_and_all_that_follows_a_language_see_its_code(tmp_path, given):
    path = tmp_path / "pair.yaml"
    path.write_text(config_text("nl", "openai/whisper-tiny", "x").replace("language: nl", f"language: {given}"))
    config = load_config(path)
    assert config.language == "ja"
    assert load_config(path, ["language=Nederlands"]).language == "nl"
    assert metric_name(config.text_language) == "cer"
    parser = argparse.ArgumentParser()
    evaluate.add(parser)
    arguments = ["--main", "m", "--assistant", "a", "--data", ".", "--out", "o", "--language", given]
    assert evaluate.config_from_arguments(parser.parse_args(arguments))["language"] == "ja"


def test_a_config_says_what_to_expect_of_its_hours(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "Japanese"]) == 0
    text = (tmp_path / "japanese.yaml").read_text()
    assert "Judged by CER" in text
    assert "Enough to fine-tune the main" in text
    assert "Little" in config_text("th", "openai/whisper-large-v3", "thai")
    assert "CC BY 4.0" in text
    assert main(["init", "ja"]) == 2
    assert "is there already" in capsys.readouterr().err
    for language in ("Tibetan", "Norwegian Nynorsk"):
        assert main(["init", language, "--out", "-"]) == 0
        head = capsys.readouterr().out.partition("language:")[0]
        assert head.count("bring your own") == head.count("is known") == 1
    assert load_config(tmp_path / "japanese.yaml").language == "ja"


def own_speech(folder: Path, texts: list[str], speakers: int = 3, splits: bool = False) -> None:
    for part in ("train", "validation", "test") if splits else (".",):
        listed = []
        for i, text in enumerate(texts):
            put(folder / part / f"{i}.wav", wav(tone(1.0, 10 + i)))
            listed.append({"file_name": f"{i}.wav", "text": text, "speaker": f"s{i % speakers}"})
        write_table(folder / part / "metadata.csv", listed)


WRITTEN = [f"Dit is zin {word}." for word in ("één", "twee", "drie", "vier")]


def test_a_config_for_your_own_speech_lists_what_was_found_and_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own_speech(Path("my-clips"), WRITTEN, splits=True)
    assert main(["init", "Dutch", "--clips", "my-clips", "--model", "openai/whisper-small"]) == 0
    assert "my-clips: a folder with metadata, 4 clips, 0.00 hours, 3 speakers, text in Latin letters" in (
        capsys.readouterr().out)  # fmt: skip
    config = load_config(tmp_path / "dutch.yaml")
    parts = (config.data.train, config.data.validation, config.data.test)
    assert [(source.corpus, source.split) for (source,) in parts] == [
        ("my-clips", "train"), ("my-clips", "validation"), ("my-clips", "test")]  # fmt: skip
    text = (tmp_path / "dutch.yaml").read_text()
    assert "capitals in 100 %, punctuation in 100 % of the texts" in text
    assert "Hub" not in text
    assert not config.data.train[0].restore_style


def test_one_folder_is_divided_and_a_style_that_readers_miss_is_restored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_speech(Path("my-clips"), [f"zin nummer {i}" for i in range(30)], speakers=30)
    assert main(["init", "nl", "--clips", "my-clips"]) == 0
    config = load_config(tmp_path / "dutch.yaml")
    assert [source.split for source in (*config.data.train, *config.data.validation, *config.data.test)] == [
        "10%:100%", "0%:5%", "5%:10%"]  # fmt: skip
    assert config.data.train[0].restore_style
    assert "lack capitals or punctuation" in (tmp_path / "dutch.yaml").read_text()


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_layout_gives_a_config_whose_clips_are_those_that_were_found(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    LAYOUTS[kind](tmp_path / "set")
    assert main(["init", "nl", "--clips", "set"]) == 0
    assert capsys.readouterr().out.startswith(f"set: {kind.strip()}, 5 clips, 0.00 hours")
    config = load_config(tmp_path / "dutch.yaml")
    texts = [clip.text for source in config.data.train for clip in clips_of(replace(source, split="train"), tmp_path)]
    assert sorted(texts) == sorted(TEXTS)


def test_an_archive_is_looked_into_and_unpacked_for_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mls(tmp_path / "set")
    shutil.make_archive("mls_dutch", "zip", tmp_path / "set")
    assert main(["init", "nl", "--clips", "mls_dutch.zip"]) == 0
    config = load_config(tmp_path / "dutch.yaml")
    assert config.output == "outputs/dutch"
    (unpacked,) = [path for path in Path(config.data.cache, "unpacked").iterdir() if path.is_dir()]
    before = unpacked.stat().st_mtime_ns
    alone = replace(config.data, validation=(), test=())  # whose clips are among those of training here
    clips = load_training_clips(config.data.train, alone, 30).clips
    assert [clip.text for clip in clips] == TEXTS
    assert unpacked.stat().st_mtime_ns == before
    assert config.data.validation[0].split == "validation"  # its dev
    assert main(["init", "nl", "--clips", "mls_dutch.zip", "--out", "again.yaml"]) == 0


def test_speech_without_text_is_enough_for_the_assistant_of_an_unchanged_main(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "validation", "test"):
        own_speech(Path("my-clips") / split, WRITTEN)
    (tmp_path / "my-clips" / "train" / "metadata.csv").unlink()
    assert main(["init", "nl", "--clips", "my-clips"]) == 0
    config = load_config(tmp_path / "dutch.yaml")
    assert config.train is None
    assert config.data.train[0].text is None


@pytest.mark.parametrize("clips", ["nowhere", "empty"])
def test_a_folder_that_is_not_there_or_holds_nothing_is_refused(tmp_path, monkeypatch, capsys, clips):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["init", "nl", "--clips", clips]) == 2
    assert f"corpus {clips}: " in capsys.readouterr().err
    assert not (tmp_path / "dutch.yaml").exists()


def test_the_config_and_its_output_never_stand_in_each_others_way(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "small").mkdir(parents=True)
    assert main(["init", "nl", "--out", "outputs/dutch"]) == 2
    assert "expected a file that ends in .yaml" in capsys.readouterr().err
    assert main(["init", "nl", "--out", "small.yaml"]) == 0
    assert load_config(tmp_path / "small.yaml").output == "outputs/small-2"  # another run's results are in small
    assert main(["init", "nl", "--out", "large.yaml"]) == 0
    assert load_config(tmp_path / "large.yaml").output == "outputs/large"


@pytest.mark.parametrize(
    ("language", "model", "message"),
    [
        ("yue", "openai/whisper-small", "has no Cantonese (yue), which came with openai/whisper-large-v3"),
        ("nl", "openai/whisper-small.en", "knows English alone; its multilingual form is openai/whisper-small"),
    ],
)
def test_a_model_that_has_not_the_language_is_refused_at_once(tmp_path, monkeypatch, capsys, language, model, message):
    monkeypatch.chdir(tmp_path)
    assert main(["init", language, "--model", model]) == 2
    assert message in capsys.readouterr().err
    path = tmp_path / "pair.yaml"
    path.write_text(config_text(language, "openai/whisper-large-v3", "x"))
    assert load_config(path).language == language
    with pytest.raises(InputError, match=re.escape(message)):
        load_config(path, [f"model={model}"])


def test_normalized_text_is_left_to_the_assistant_with_the_reason():
    text = config_text("nl", "openai/whisper-large-v3", "dutch")
    assert text.count("      text: null\n") == 2
    assert text.count("text: raw_transcription") == 3
    assert "would teach the main to write so" in text


def test_corpora_with_terms_of_their_own_are_named_with_licence_and_hours_and_not_used():
    text = config_text("en", "openai/whisper-large-v3", "english")
    for name in ("LibriSpeech", "People's Speech", "GigaSpeech", "SPGISpeech"):
        assert f"#   {name}" in text
    assert "openslr/librispeech_asr" not in text.replace("#   LibriSpeech, read audiobooks: 960 h; hub openslr/", "")
    for code, name in (("ko", "KsponSpeech"), ("no", "NST"), ("he", "ivrit.ai"), ("zh", "AISHELL"), ("es", "TEDx")):
        assert name in config_text(code, "openai/whisper-large-v3", "x")
