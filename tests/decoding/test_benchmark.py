"""The benchmark of the engine runs at a small shape, says what the contenders said, and labels what is scripted."""

import json
import socket
import sys

import pytest
import torch

from benchmarks import decoding
from benchmarks.scripted_pair import scripted_pair
from whisper_pair.decoding import DraftTree, Options
from whisper_pair.decoding.rank_shares import likeliest_tree

UNNEEDED = ("datasets", "soundfile", "soxr", "av")


def test_the_benchmark_loads_without_libraries_for_data_or_audio(command):
    """A GPU machine may hold torch and transformers alone."""
    done = command("-c", f"import sys; sys.modules |= dict.fromkeys({UNNEEDED}); import benchmarks.decoding")
    assert done.returncode == 0, done.stderr


def test_a_scripted_run_writes_every_contender_and_its_targets(tmp_path, monkeypatch):
    for library in UNNEEDED:
        monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(socket, "socket", None)
    out = tmp_path / "decoding.json"
    shape = ["--scripted", "tiny-test", "--alphas", "0.9", "--batch-sizes", "1", "3"]
    short = ["--repeats", "1", "--draft-tokens", "4", "--threads", "1"]
    result = decoding.main([*shape, *short, "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert set(result) == {"command", "date", "machine", "versions", "rows", "targets"}
    assert str(tmp_path) not in result["command"]
    runs = [row for row in result["rows"] if "mode" in row]
    assert [(row["engine"], row["mode"], row["batch_size"]) for row in runs] == [
        ("pair", "greedy", 1),
        ("pair", "speculative", 1),
        ("transformers", "greedy", 1),
        ("transformers", "assisted", 1),
        ("pair", "greedy", 3),
        ("pair", "speculative", 3),
        ("transformers", "greedy", 3),
    ]
    for row in runs:
        assert row["identical_to_greedy"] == row["windows"] == 4 * row["batch_size"]
        assert (row["acceptance"], row["alpha"]) == ("scripted", 0.9)
        assert 0 < row["fastest"] <= row["seconds"] <= row["slowest"]
    rates = [row["acceptance_rate"] for row in runs if row["mode"] == "speculative"]
    assert all(0.6 < rate < 0.95 for rate in rates)  # in expectation (0.9 + ... + 0.9^4) / 4 = 0.77
    steps = [row for row in result["rows"] if row.get("measure") == "decode step"]
    assert [row["batch_size"] for row in steps] == [1, 3]
    assert all(row["share_of_bandwidth"] > 0 for row in steps)
    (weights,) = [row for row in result["rows"] if row.get("measure") == "memory"]
    assert 1 < weights["pair_over_main"] < 1.5  # the two layers alone, for embeddings and head are the main's
    assert all(set(target) == {"target", "reached", "higher_is_better"} for target in result["targets"].values())
    assert "tiny-test, scripted alpha 0.9, batch 1: speculative over assisted" in result["targets"]


def test_a_scripted_pair_is_right_at_its_second_and_third_choice_as_often_as_a_real_one():
    pair = scripted_pair("tiny-test", 12, "cpu", torch.float32)
    pair.set_alpha(0.57)
    shares = [(pair.draft.ranks == rank).float().mean().item() for rank in range(4)]
    assert shares == pytest.approx([0.57, 0.43 * 0.28, 0.43 * 0.72 * 0.17, 0.43 * 0.72 * 0.83 * 0.12], abs=0.02)
    chain, tree = DraftTree.chain(3), likeliest_tree(shares, 16, 3)
    won = {}
    for drafts in (DraftTree.chain(0), chain, tree):
        options = Options(language="nl", batch_size=12, draft_tokens=drafts, max_new_tokens=pair.decoded)
        rows = pair.engine.decode(pair.features, options)
        assert {tuple(row.tokens) for row in rows} == {tuple(pair.draft.script[: pair.decoded].tolist())}
        won[drafts] = sum(len(row.tokens) for row in rows) / sum(row.rounds for row in rows)
    assert won[tree] > 1.1 * won[chain]
