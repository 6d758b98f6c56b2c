"""The benchmark of trees decodes what it replays, and goes on where it was stopped."""

import json

import pytest

from benchmarks import trees
from benchmarks.tree_results import table
from tests.benchmarks.test_recipes import ends_soon


def test_trees_are_decoded_as_they_were_replayed_and_nothing_is_measured_twice(demo_data, tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "LIMIT", 12)
    short, out = ends_soon(demo_data / "micro-whisper", tmp_path / "short"), tmp_path / "trees.json"
    given = ["--pair", f"itself={short},{short}", "--speech", str(demo_data), "--work", str(tmp_path / "work")]
    result = trees.main([*given, "--clips", "3", "--out", str(out)])
    (row,) = result["rows"]
    assert row["clips"] == 3
    assert row["agreement"] == 1.0
    assert row["drafts"]["best tree"]["nodes"] == row["drafts"]["best tree"]["depth"]  # nothing beats a chain here
    for one in row["decoded"]:
        assert one["differ_from_greedy"] == one["differ_from_transformers"] == one["counters_differ"] == 0
        assert one["tokens_per_round"] == pytest.approx(row["replayed"][one["drafts"]]["tokens_per_round"])
    assert all(one["tokens_per_round"] > 2 for one in row["adaptive"].values())
    assert row["auto"].keys() == {"1", "8"}
    assert all(target["reached"] == 0 for name, target in result["targets"].items() if "differ" in name)
    assert "every decoding gave the tokens of transformers' greedy" in table(result)
    monkeypatch.setattr(trees.Case, "decode", lambda *_: pytest.fail("decoded again"))
    trees.main([*given, "--clips", "3", "--out", str(out)])
    assert json.loads(out.read_text())["rows"] == result["rows"]
