"""Languages by whatever name people give them, and the table of corpora."""

import pytest
from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

from whisper_pair.errors import InputError
from whisper_pair.text.languages import bare, code_of, language_table, name_of


def test_the_table_names_the_languages_of_whisper_and_no_other():
    assert {code: name.lower() for code, name in language_table()["languages"].items()} == LANGUAGES
    for corpus in language_table()["corpora"].values():
        assert set(corpus["languages"]) <= set(LANGUAGES)


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
        ("he", "he"),
        ("Norwegian Nynorsk", "nn"),
        ("Brazilian Portuguese", "pt"),
        ("Filipino", "tl"),
        ("zh_CN", "zh"),
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
