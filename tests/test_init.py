"""`whisper-pair init`: a valid config for each of Whisper's languages, out of a table that agrees with the rest."""

import pytest
from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

from tests.conftest import ROOT
from whisper_pair.cli import main
from whisper_pair.commands.init import config_text
from whisper_pair.config import load_config
from whisper_pair.errors import InputError
from whisper_pair.languages import code_of, corpora, name_of, table


def test_the_table_names_the_languages_of_whisper_and_no_other():
    assert {code: name.lower() for code, name in table()["languages"].items()} == LANGUAGES
    for corpus in table()["corpora"].values():
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
    with pytest.raises(InputError, match="nearest is dutch"):
        code_of("dutsch")


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
