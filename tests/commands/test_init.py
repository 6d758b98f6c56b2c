"""`whisper-pair init`: a valid config for each of Whisper's languages, out of a table that agrees with the rest."""

import argparse

import pytest
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from tests.conftest import ROOT
from whisper_pair.cli import main
from whisper_pair.commands import evaluate
from whisper_pair.commands.init import config_text
from whisper_pair.config.schema import load_config
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
            if known.hub == source.hub and (code, known.hub) != ("ja", "google/fleurs"):  # there in its written form
                assert (known.config, known.text, known.speaker, known.revision, known.audio or "audio") == (
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
    asked = ["--main", "m", "--assistant", "a", "--data", ".", "--out", "o", "--language", given]
    assert evaluate.question(parser.parse_args(asked))["language"] == "ja"


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
    assert main(["init", "Tibetan", "--out", "-"]) == 0
    assert "bring your own" in capsys.readouterr().out
    assert load_config(tmp_path / "japanese.yaml").language == "ja"
    assert main(["init", "nl", "--clips", "my-clips"]) == 0
    config = load_config(tmp_path / "dutch.yaml")
    folders = [source.folder for source in (*config.data.train, *config.data.validation, *config.data.test)]
    assert folders == ["my-clips/train", "my-clips/validation", "my-clips/test"]
    assert "Hub" not in (tmp_path / "dutch.yaml").read_text()
