"""Text metrics: what counts as a word in each language, and counts that add up."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_pair.errors import InputError
from whisper_pair.text.error_rates import ErrorRate, aligned_errors, error_rates, metric_name, pooled
from whisper_pair.text.metrics import folder
from whisper_pair.text.normalization import Normalizer, basic_normalize


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


def test_an_empty_reference_counts_all_words_as_inserted():
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


LINES = [  # language, reference, hypothesis, errors, length: words, or characters where there are no spaces
    ("hi", "हिन्दी में बात करो।", "हिन्दी मे बात करो", 1, 4),  # मे lacks its nasal mark: one word, not three fragments
    ("ja", "今日は、いい天気。", "今日はいい電気", 1, 7),
    ("th", "สวัสดีครับ", "สวัสดีคับ", 1, 10),
    ("ar", "اَلسَّلامُ عَلَيْكُمْ،", "اَلسَّلامُ عَلَيْكُم", 1, 2),  # the last vowel sign is part of its word
    ("nl", "Dat is één zin, hoor!", "dat is een zin", 2, 5),
    ("en", "I'm sure it's twenty-one colours.", "I am sure it is 21 colors", 0, 7),
]


@pytest.mark.parametrize(("language", "reference", "hypothesis", "errors", "length"), LINES)
def test_errors_in_each_script_are_what_a_reader_counts_and_jiwer_too(language, reference, hypothesis, errors, length):
    normalizer = Normalizer(language, {"colours": "colors"})
    (found,) = error_rates([reference], [hypothesis], language, normalizer)
    assert found == ErrorRate(errors, length)
    one, two = normalizer(reference), normalizer(hypothesis)
    if metric_name(language) == "cer":
        assert found.rate == pytest.approx(jiwer.cer(one.replace(" ", ""), two.replace(" ", "")))
    else:
        assert found.rate == pytest.approx(jiwer.wer(one, two))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    import evaluate

    cache = str(tmp_path_factory.mktemp("evaluate"))
    return {name: evaluate.load(folder(name), cache_dir=cache) for name in ("wer", "cer")}


def test_evaluate_loads_the_metrics_offline_and_they_are_jiwers(loaded):
    nl = [line for line in LINES if line[0] == "nl"] + [("nl", "een twee drie", "een drie vier vijf", 3, 3)]
    texts = {"predictions": [line[2] for line in nl], "references": [line[1] for line in nl]}
    found = loaded["wer"].compute(**texts, language="nl")
    assert found["errors"] == 5
    assert found["length"] == 8
    normalized = [[basic_normalize(text) for text in column] for column in texts.values()]
    assert found["wer"] == pytest.approx(jiwer.wer(normalized[1], normalized[0]))
    found = loaded["cer"].compute(**texts, language="nl")
    bare = [[text.replace(" ", "") for text in column] for column in normalized]
    assert found["cer"] == pytest.approx(jiwer.cer(bare[1], bare[0]))


def test_the_metrics_depend_on_the_language(loaded):
    for language, reference, hypothesis, errors, length in LINES:
        name, spelling = metric_name(language), {"colours": "colors"}
        found = loaded[name].compute(
            predictions=[hypothesis], references=[reference], language=language, spelling=spelling
        )
        assert (found["errors"], found["length"]) == (errors, length)


@given(st.lists(sentence, min_size=1, max_size=5), st.lists(word, max_size=20))
def test_errors_of_aligned_parts_add_up_to_those_of_the_whole(parts, hypothesis):
    whole = rate_of(" ".join(parts), " ".join(hypothesis), "nl")
    found = aligned_errors(parts, " ".join(hypothesis), "nl", Normalizer("nl"))
    assert pooled(found) == whole
    assert [rate.length for rate in found] == [len(part.split()) for part in parts]


def test_an_error_belongs_to_the_part_it_is_in():
    found = aligned_errors(["een twee", "drie vier", "vijf"], "een twee mist mist vijf zes", "nl", Normalizer("nl"))
    assert found == [ErrorRate(0, 2), ErrorRate(2, 2), ErrorRate(1, 1)]
    assert aligned_errors(["...", "ja"], "ja", "nl", Normalizer("nl")) == [ErrorRate(0, 0), ErrorRate(0, 1)]
