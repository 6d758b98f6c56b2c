"""The benchmark of distillation runs at a small shape, with the work of each contender as it must be."""

import json

from benchmarks import distillation


def test_a_small_run_writes_every_contender_and_its_targets(tmp_path):
    out = tmp_path / "distillation.json"
    few = ["--clips", "40", "--clips-a-step", "8", "--timed-clips", "16", "--repeats", "1", "--threads", "1"]
    result = distillation.main(["--shape", "tiny-test", *few, "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert str(tmp_path) not in result["command"]
    recipe, first, later = result["rows"]
    assert [row["contender"] for row in result["rows"]] == ["usual recipe", "ours, first epoch", "ours, later epochs"]
    assert recipe["flop_a_clip"] > first["flop_a_clip"] > later["flop_a_clip"] > 0
    for row in result["rows"]:
        assert 0 < row["spread"][0] <= row["seconds_a_clip"] <= row["spread"][1]
        assert row["peak_bytes"] > 0
    gains = [target["reached"] for target in result["targets"].values()]
    assert len(gains) == 4
    assert result["cache_writes"]["windows"] > 0
    assert 0 < gains[3] == result["cache_writes"]["milliseconds_a_window"]
    assert result["targets"]["tiny-test: peak memory over the usual recipe's"]["higher_is_better"] is False
