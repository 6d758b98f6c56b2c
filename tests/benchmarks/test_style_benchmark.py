"""The benchmark of written style counts what a reader sees, and makes the corpus that it says."""

import csv

import pytest

from benchmarks.style import kept_style, lower_cased
from tests.corpora import tone, wav, write_table
from whisper_pair.text import Normalizer


@pytest.mark.parametrize(
    ("reference", "hypothesis", "kept"),
    [
        ("Ja, dat klopt.", "Ja, dat klopt.", (2, 2)),
        ("Ja, dat klopt.", "ja dat klopt", (0, 2)),
        ("Ja, dat klopt.", "Ja dat klopt.", (1, 2)),  # a comma is missing
        ("Ja, dat klopt.", "Nee, dat klopt.", (1, 1)),  # a word that is wrong is WER's
        ("dat klopt", "Dat klopt!", (0, 0)),
        ("Ja - dat klopt.", "Ja dat klopt.", (2, 2)),
    ],
)
def test_style_counts_where_the_words_are_right(reference, hypothesis, kept):
    assert kept_style([reference], [hypothesis], Normalizer("nl")) == kept


def test_the_lower_cased_copy_has_the_same_clips_and_bare_texts(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.wav").write_bytes(wav(tone(1, 9)))
    write_table(tmp_path / "train" / "metadata.csv", [{"file_name": "a.wav", "text": "Ja, dát.", "speaker": "s"}])
    for _ in range(2):
        lower_cased(tmp_path / "lower", tmp_path / "train", Normalizer("nl"))
    with open(tmp_path / "lower" / "metadata.csv", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [{"file_name": "a.wav", "text": "ja dát", "speaker": "s"}]
    assert (tmp_path / "lower" / "a.wav").read_bytes() == (tmp_path / "train" / "a.wav").read_bytes()
