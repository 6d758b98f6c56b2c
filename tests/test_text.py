"""Text metrics: what counts as a word in each language, and counts that add up."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_pair.errors import InputError
from whisper_pair.text import ErrorRate, Normalizer, basic_normalize, error_rates, metric_name, pooled


def rate_of(reference: str, hypothesis: str, language: str) -> ErrorRate:
    return error_rates([reference], [hypothesis], language, Normalizer(language, {}))[0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Dat 's geen Écht glas, [lacht] hoor!", "dat s geen écht glas hoor"),
        ("हिन्दी में बात करो।", "हिन्दी में बात करो"),  # Whisper's own splits this at its vowel signs
        ("สวัสดีครับ", "สวัสดีครับ"),
        ("اَلسَّلامُ عَلَيْكُمْ،", "اَلسَّلامُ عَلَيْكُمْ"),
        ("今日は、いい天気。", "今日は いい天気"),
    ],
)
def test_normalizing_keeps_marks_and_drops_punctuation(text, wanted):
    import unicodedata

    assert basic_normalize(text) == unicodedata.normalize("NFKC", wanted)


def test_english_uses_whispers_english_normalizer():
    assert (
        Normalizer("en", {"colour": "color"})("Mr. Smith's colour isn't twenty-one.")
        == "mister smith is color is not 21"
    )


def test_english_without_its_spelling_map_is_refused():
    with pytest.raises(InputError, match=r"normalizer\.json"):
        Normalizer("en")


def test_languages_without_spaces_are_judged_by_characters():
    assert [metric_name(language) for language in ("nl", "hi", "ja", "th", "km")] == ["wer", "wer", "cer", "cer", "cer"]
    assert rate_of("今日は いい天気", "今日はいい電気。", "ja") == ErrorRate(1, 7)


def test_an_empty_reference_counts_what_was_said_as_inserted():
    assert rate_of("", "ja wel", "nl") == ErrorRate(2, 0)
    assert rate_of("...", "", "nl") == ErrorRate(0, 0)
    assert ErrorRate(0, 0).rate == 0.0
    assert ErrorRate(2, 0).rate == 1.0


word = st.text(alphabet="abcdefg", min_size=1, max_size=4)
sentence = st.lists(word, min_size=1, max_size=8).map(" ".join)


@given(st.lists(st.tuples(sentence, sentence), min_size=1, max_size=6))
def test_pooled_rates_are_jiwers_over_all_utterances(pairs):
    references, hypotheses = map(list, zip(*pairs, strict=True))
    found = pooled(error_rates(references, hypotheses, "nl", Normalizer("nl")))
    assert found.rate == pytest.approx(jiwer.wer(references, hypotheses))
    found = pooled(error_rates(references, hypotheses, "ja", Normalizer("ja")))
    bare = [[text.replace(" ", "") for text in texts] for texts in (references, hypotheses)]
    assert found.rate == pytest.approx(jiwer.cer(*bare))
