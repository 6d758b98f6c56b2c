"""`whisper-pair init`: a valid config for each of Whisper's languages, out of a table that agrees with the rest."""

import argparse

import pytest
from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

from tests.conftest import ROOT
from whisper_pair.cli import main
from whisper_pair.commands import evaluate
from whisper_pair.commands.init import config_text
from whisper_pair.config.schema import load_config
from whisper_pair.errors import InputError
from whisper_pair.text.error_rates import metric_name
from whisper_pair.text.languages import bare, code_of, corpora, language_table, name_of


def test_the_table_names_the_languages_of_whisper_and_no_other():
    assert {code: name.lower() for code, name in language_table()["languages"].items()} == LANGUAGES
    for corpus in language_table()["corpora"].values():
        assert set(corpus["languages"]) <= set(LANGUAGES)


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


def test_a_language_is_known_by_its_code_and_its_name():
    assert code_of("Dutch") == code_of("nl") == "nl"
    assert name_of("yue") == "Cantonese"
    assert {name: code_of(name) for name in TO_LANGUAGE_CODE} == TO_LANGUAGE_CODE


def test_no_name_belongs_to_two_languages():
    owners = {}
    for code, name in language_table()["languages"].items():
        for known in (code, name, *language_table()["also"].get(code, ())):
            assert owners.setdefault(bare(known), code) == code, known
    for name, code in language_table()["aliases"].items():
        assert owners.setdefault(bare(name), code) == code, name
    assert set(language_table()["also"]) == set(LANGUAGES)
    assert not set(language_table()["mistaken"]) & set(owners)  # what is a name of one is never taken for another's
    assert set(language_table()["mistaken"].values()) <= set(LANGUAGES)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("Japanese", "ja"),
        ("JAPANESE", "ja"),
        (" ja ", "ja"),
        ("JA", "ja"),
        ("日本語", "ja"),
        ("ja_JP.UTF-8", "ja"),
        ("jpn", "ja"),
        ("Nederlands", "nl"),
        ("Flemish", "nl"),
        ("Vlaams", "nl"),
        ("nl-BE", "nl"),
        ("nl_NL", "nl"),
        ("pt-BR", "pt"),
        ("Portuguese (Brazil)", "pt"),
        ("zh-TW", "zh"),
        ("zh-Hant-TW", "zh"),
        ("cmn", "zh"),
        ("zh-yue", "yue"),
        ("français", "fr"),
        ("Francais", "fr"),
        ("हिंदी", "hi"),
        ("Haitian-Creole", "ht"),
        ("norsk_bokmål", "no"),
        ("nb-NO", "no"),
        ("nb", "no"),
        ("no", "no"),
        ("nn", "nn"),
        ("iw", "he"),
        ("in", "id"),
        ("jw", "jw"),
        ("jv", "jw"),
        ("fil", "tl"),
        ("ji", "yi"),
        ("mo", "ro"),
    ],
)
def test_a_language_is_known_by_code_name_own_name_region_and_former_code(given, code):
    assert code_of(given) == code


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("dutsch", "Dutch, nl"),
        ("Germna", "German, de"),
        ("Portugese", "Portuguese, pt"),
        ("Nederland", "Dutch, nl"),
        ("jp", "Japanese, ja"),
        ("cn", "Chinese, zh"),
        ("Japan", "Japanese, ja"),
        ("Holland", "Dutch, nl"),
    ],
)
def test_an_unknown_language_is_refused_with_the_one_that_is_meant(given, meant):
    with pytest.raises(InputError, match=rf"^language {given}: is not one of Whisper's 100; the nearest is {meant}\.$"):
        code_of(given)


@pytest.mark.parametrize("given", ["xx", "klingon", "", "n l", "nl-", "-nl", "nl-x", "99"])
def test_what_is_near_to_no_language_is_not_guessed(given):
    with pytest.raises(InputError, match="give a code such as nl, or a name such as Dutch"):
        code_of(given)


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
