"""Shares of one corpus: no speaker in two of them, the same each time, and together all of it."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpora import tone, wav, write_table
from whisper_pair.config.load import dump_config, load_config
from whisper_pair.config.schema import Source
from whisper_pair.config.shares import share_of
from whisper_pair.data.corpus import load_test_clips, load_training_clips
from whisper_pair.data.parts import part_of
from whisper_pair.data.rows import Row
from whisper_pair.errors import InputError


def rows(counts: list[int]) -> list[Row]:
    return [Row(f"{i}-{n}", None, speaker=f"s{i}") for i, count in enumerate(counts) for n in range(count)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=20, max_size=60), st.floats(0.02, 0.4), st.floats(0.02, 0.4))
def test_parts_share_no_clip_and_no_speaker_and_add_up_to_the_corpus(counts, first, second):
    everything = rows(counts)
    bounds = [(0.0, first), (first, first + second), (first + second, 1.0)]
    parts = [list(part_of(everything, *share, "x")) for share in bounds]
    assert sorted(row.name for part in parts for row in part) == sorted(row.name for row in everything)
    assert parts == [list(part_of(everything, *share, "x")) for share in bounds]
    largest = max(counts)
    if largest <= sum(counts) / 2:
        owners = Counter(speaker for part in parts for speaker in {row.speaker for row in part})
        assert set(owners.values()) == {1}
        for part, (low, high) in zip(parts, bounds, strict=True):
            assert abs(len(part) - (high - low) * len(everything)) <= largest


def test_a_corpus_of_few_speakers_is_divided_by_clips_and_says_so(caplog):
    everything = rows([50, 50])
    held_out = list(part_of(everything, 0.0, 0.1, "my-clips"))
    assert len(held_out) == 10
    assert "my-clips: has 2 speakers that are known, too few" in caplog.text


def config(tmp_path: Path, validation: object, test: object, train: object = None) -> Path:
    def source(split: object) -> dict:
        return {"corpus": str(tmp_path / "set"), "speaker": "speaker"} | ({} if split is None else {"split": split})

    tree = {"language": "nl", "model": "m", "output": str(tmp_path / "out")}
    tree["data"] = {"train": [source(train)], "validation": [source(validation)], "test": [source(test)]}
    path = tmp_path / "pair.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_a_config_divides_one_folder_between_training_validation_and_test(tmp_path):
    (tmp_path / "set").mkdir()
    listed = []
    for i in range(40):
        (tmp_path / "set" / f"{i}.wav").write_bytes(wav(tone(0.5, 10 + i)))
        listed.append({"file_name": f"{i}.wav", "text": f"zin nummer {i}", "speaker": f"s{i}"})
    write_table(tmp_path / "set" / "metadata.csv", listed)
    path = config(tmp_path, 0.1, 0.2)
    read = load_config(path)
    assert [read.data.validation[0].split, read.data.test[0].split, read.data.train[0].split] == [
        "0%:10%", "10%:30%", "30%:100%"]  # fmt: skip
    path.write_text(dump_config(read))
    assert load_config(path) == read  # the resolved config says the same
    train = load_training_clips(read.data.train, read.data, 30).clips  # which refuses clips of the others
    held_out = [load_test_clips(getattr(read.data, name), read.data, 30, name) for name in ("validation", "test")]
    assert [len(train), *map(len, held_out)] == [28, 4, 8]


@pytest.mark.parametrize(
    ("validation", "test", "train", "message"),
    [
        (0.6, 0.5, None, "add up to more than 1"),
        (0.5, 0.5, None, "leave nothing to train on"),
        (0.0, 0.5, None, "expected a share above 0"),
        ("20%:10%", 0.5, None, "bounds that rise"),
    ],
)
def test_shares_that_cannot_be_are_refused(tmp_path, validation, test, train, message):
    with pytest.raises(InputError, match=message):
        load_config(config(tmp_path, validation, test, train))


def test_a_named_split_beside_a_plain_folder_is_not_passed_over(tmp_path):
    path = config(tmp_path, 0.1, 0.1)
    with pytest.raises(InputError, match="a name only beside hub or corpus"):
        load_config(path, ["data.test.0.corpus=null", "data.test.0.folder=x", "data.test.0.split=test"])


def test_shares_and_their_bounds():
    assert share_of("train") is None
    assert share_of(0.05) == (0.0, 0.05)
    assert share_of("5%:12.5%") == (0.05, 0.125)
    assert Source(corpus="x", split="5%:10%").kind == "corpus"
