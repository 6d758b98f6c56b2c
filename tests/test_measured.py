"""What was measured outlives the process, for the same pair on the same machine alone, and never does harm."""

import json

import pytest
import torch

from tests.decoding.models import cut, tiny_whisper
from whisper_pair import measured_rounds as measured
from whisper_pair.decoding.draft_length import Times
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.tree import DraftTree
from whisper_pair.measured_rounds import MeasuredRounds, folder

TREE = DraftTree.of([(0,), (1,), (1, 0)])
KNOWN = {
    (1, False, None): Times({0: 0.01, 1: 0.012, 2: 0.013}, {TREE: 0.014}),
    (8, True, 400): Times({0: 0.02, 1: 0.05}),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("WHISPER_PAIR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "costs"


def engine(seed: int = 0, layers: int = 3, **more) -> Engine:
    main = tiny_whisper(seed, layers)
    return Engine(main, cut(main), **more)


def test_another_process_knows_what_one_measured(place):
    MeasuredRounds(engine()).save({(1, False, None): KNOWN[1, False, None]})
    MeasuredRounds(engine()).save({(8, True, 400): KNOWN[8, True, 400]})  # adds to it
    assert MeasuredRounds(engine(seed=1)).load() == KNOWN  # other weights, the same work
    assert [file.suffix for file in place.iterdir()] == [".json"]


def test_what_changes_a_rounds_time_has_a_file_of_its_own(place, monkeypatch):
    MeasuredRounds(engine()).save(KNOWN)
    assert MeasuredRounds(engine(layers=2)).load() == {}
    assert MeasuredRounds(engine(draft_vocabulary=torch.arange(5))).load() == {}
    assert MeasuredRounds(engine(trees=[TREE])).load() == {}
    half = tiny_whisper().bfloat16()
    assert MeasuredRounds(Engine(half, cut(half))).load() == {}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert MeasuredRounds(engine()).load() == {}
    monkeypatch.undo()


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: "{",
        lambda stored: "[]",
        lambda stored: "[" * 100_000,
        lambda stored: json.dumps(stored | {"fingerprint": {}}),
        lambda stored: json.dumps(stored | {"rounds": 3}),
        lambda stored: json.dumps(
            stored | {"rounds": [{"batch_size": 0, "timestamps": False, "seconds": {"0": 1, "1": 1}, "trees": {}}]}
        ),
        lambda stored: json.dumps(
            stored | {"rounds": [{"batch_size": 1, "timestamps": False, "seconds": {"0": 1}, "trees": {}}]}
        ),
        lambda stored: json.dumps(stored).replace("0.012", "-1"),
        lambda stored: json.dumps(stored).replace("0.012", "NaN"),
        lambda stored: json.dumps(stored).replace('"2"', '"99"'),
        lambda stored: json.dumps(stored).replace(TREE.text, "0 9"),
    ],
)
def test_a_damaged_or_foreign_file_counts_as_none_and_is_replaced(place, change):
    MeasuredRounds(engine()).save(KNOWN)
    (file,) = place.iterdir()
    file.write_text(change(json.loads(file.read_text())))
    assert MeasuredRounds(engine()).load() == {}
    MeasuredRounds(engine()).save(KNOWN)
    assert MeasuredRounds(engine()).load() == KNOWN


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WHISPER_PAIR_CACHE", str(tmp_path / "file"))
    MeasuredRounds(engine()).save(KNOWN)
    assert MeasuredRounds(engine()).load() == {}

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(measured, "folder", homeless)
    MeasuredRounds(engine()).save(KNOWN)
    assert MeasuredRounds(engine()).load() == {}


def test_the_file_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("WHISPER_PAIR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == tmp_path / "whisper-pair" / "costs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / ".cache" / "whisper-pair" / "costs"


def test_a_pair_goes_by_what_an_earlier_process_kept(place, pair):
    """The second one measures nothing."""
    from whisper_pair import Pair

    first = Pair.from_pretrained(*pair)
    first.engine.round_times.learn(1, False, Times({0: 0.01, 1: 0.1, 2: 0.2}))  # drafting never pays here
    second = Pair.from_pretrained(*pair)
    samples = torch.zeros(16_000).numpy()
    (transcribed,) = second.transcribe([samples], language="nl", max_new_tokens=8)
    assert transcribed.drafted == 0
    assert second.engine.round_times.known == {(1, False, None): Times({0: 0.01, 1: 0.1, 2: 0.2})}
