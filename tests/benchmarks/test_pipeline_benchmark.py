"""The benchmark of the three stages runs at a small shape, from a main that is stored in float16."""

import json

import pytest

from benchmarks import pipeline


def test_a_small_run_measures_every_stage(tmp_path):
    out = tmp_path / "pipeline.json"
    few = ["--shape", "micro", "--clips", "24", "--device", "cpu", "--dtype", "float32"]
    result = pipeline.main([*few, "--folder", str(tmp_path / "work"), "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert str(tmp_path) not in result["command"]
    rows = {row["stage"]: row for row in result["rows"]}
    assert list(rows) == ["train", "training", "distill", "labelling", "distillation", "eval"]
    assert not any(row.get("failed") for row in rows.values())
    for name in ("training", "labelling", "distillation"):
        assert rows[name]["windows_per_second"] > 0
        assert rows[name]["peak_memory_bytes"] > 0
        assert 0 < rows[name]["share_of_matmul_rate"] < 1
    assert rows["labelling"]["tokens_a_window"] == pytest.approx(pipeline.SCALES["micro"].words + 1)
    assert rows["eval"]["memory"]
