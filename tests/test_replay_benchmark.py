""" "auto" is replayed exactly: by the engine's own counts, over recorded matches, in the engine's own class."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import replay
from tests.decoding.models import cut, features, tiny_whisper
from whisper_pair.decoding import Engine, Options, TokenMatches, accepted_per_round, encode
from whisper_pair.decoding.draft_choice import DraftChoice
from whisper_pair.decoding.tree import DraftTree

MACHINE = replay.Machine(
    "made up",
    {
        1: {0: 1.0, 1: 1.3, 2: 1.4, 4: 1.6, 8: 2.0, 16: 3.0},
        4: {0: 2.0, 1: 2.6, 2: 2.9, 4: 3.4, 8: 4.4, 16: 6.8},
    },
    bucketed=False,
)


@given(
    st.lists(st.sampled_from(["agreed", "wrong", "ended"]), min_size=1, max_size=30), st.integers(0, 9), st.booleans()
)
def test_rounds_are_those_of_the_offline_replay(choices, count, finished):
    agrees = tuple(choice == "agreed" for choice in choices)
    ends = tuple(choice == "ended" for choice in choices)
    if finished:  # the last token is the end: to agree with it is to end
        ends = (*ends[:-1], agrees[-1])
    match = TokenMatches(agrees, ends, finished, 40 if finished else len(agrees))
    rounds, start = [], 0
    while start < len(agrees):
        rounds.append(replay.one_round(match, start, count))
        start += rounds[-1][1] + 1
    assert rounds == accepted_per_round(match, count)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_fixed_length_takes_the_rounds_that_the_engine_takes(batch_size):
    main, windows = tiny_whisper(4), features(7, 4)
    engine = Engine(main, cut(main))
    plain = Options(language="nl", draft_tokens=0)
    decoded = engine.decode(windows, plain)
    matches = engine.agreement(encode(engine.encoders.main, windows), [row.tokens for row in decoded], plain)
    batches = []

    class Counting(DraftChoice):
        def choose(self, decoded):
            batches.append(len(decoded))
            return super().choose(decoded)

    seconds = replay.replay(matches, Counting(3, MACHINE.known), MACHINE, batch_size)
    rows = engine.decode(windows, Options(language="nl", batch_size=batch_size, draft_tokens=3))
    assert sum(batches) == sum(row.rounds for row in rows)
    assert seconds == pytest.approx(sum(MACHINE.round_seconds(batch, 3) for batch in batches))


def test_short_texts_get_shorter_drafts_than_long_ones():
    short, long = (DraftChoice("auto", MACHINE.known) for _ in range(2))
    for _ in range(20):
        short.observe(DraftTree.chain(8), range(8), 8, 9, 9, True)
        long.observe(DraftTree.chain(8), range(8), 8, 9, 9, False)
    assert len(short.choose([5])) < len(long.choose([5]))


def test_auto_is_near_the_best_fixed_length_from_the_first_window_on(tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "MATCHES", tmp_path / "matches")
    out = tmp_path / "replay.json"
    few = ["run", "--alphas", "0.7", "0.9", "--tokens", "40", "--batch-sizes", "1", "4", "--calls", "4"]
    result = replay.main([*few, "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert [(row["machine"], row["batch_size"]) for row in result["rows"]] == [
        (name, size) for name in replay.MACHINES for size in (1, 1, 4, 4)
    ]
    assert all(row["auto_over_best"] < 1.03 for row in result["rows"])
    assert all(row["first_call_over_best"] < 1.12 for row in result["rows"])  # 24 windows of 40 tokens
    assert all(row["best_fixed_seconds"] < row["greedy_seconds"] for row in result["rows"])
    assert set(result["targets"]) == {
        f"{name}, 40 tokens: auto's time over the best fixed draft length's" for name in replay.MACHINES
    }


def test_an_evaluations_matches_are_recorded_and_read_again(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    monkeypatch.setattr(replay, "MATCHES", tmp_path / "matches")
    (tmp_path / "run" / "eval").mkdir(parents=True)
    table = pa.table(
        {
            "tokens": [[5, 6, 9], [7, 9], [5, 5]],
            "agrees": [[True, False, True], [False, True], [True, True]],
            "assistant_tokens": [[5, 9, 9], [8, 9], [5, 5]],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "run" / "eval" / "utterances.parquet")
    replay.main(["record", str(tmp_path / "run"), "--name", "few", "--source", "three clips"])
    (call,) = replay.recorded(tmp_path / "matches" / "few.json", 24).calls
    assert call == [
        TokenMatches((True, False, True), (False, True, True), True, replay.LIMIT),
        TokenMatches((False, True), (False, True), True, replay.LIMIT),
        TokenMatches((True, True), (False, False), False, 2),
    ]
