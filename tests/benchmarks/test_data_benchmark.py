"""The benchmark of the data runs at a small shape, and memory stays flat over its streamed epoch."""

import json

from benchmarks import data


def test_a_small_run_writes_its_rows_and_targets(demo_data, tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    out = tmp_path / "data.json"
    model, speech = str(demo_data / "micro-whisper"), str(demo_data / "train")
    shape = ["--steps", "1", "--repeats", "1", "--clips", "1500", "--clip-seconds", "0.5", "--workers", "0"]
    shape += ["--long-minutes", "2", "--long-hours", "0.05"]
    result = data.main(["--model", model, "--speech", speech, *shape, "--device", "cpu", "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert set(result) == {"command", "date", "machine", "versions", "rows", "targets"}
    assert str(tmp_path) not in out.read_text()
    assert str(demo_data) not in out.read_text()
    packed, loaded, trained, kept, pieces, form = result["rows"]
    measures = ["packing", "loading", "training", "memory", "long file in pieces", "long form"]
    assert [row["measure"] for row in result["rows"]] == measures
    assert abs(pieces["seconds"] - 120) < 0.1
    assert abs(form["seconds"] - 180) < 0.1
    again = data.main(["--only-long-files", *shape[-4:], "--out", str(out)])
    assert [row["measure"] for row in again["rows"]] == measures
    assert set(again["targets"]) == set(result["targets"])
    assert packed["clips"] == packed["windows"] * packed["windows_saved"] == 20  # a sentence fills its window of 4 s
    assert loaded["windows_per_second"]["median"] > 0
    assert trained["windows_per_second"]["least"] > 0
    assert kept["windows"] >= 1500 * 0.8 / 30
    assert len(kept["mebibytes"]["tenths_of_the_epoch"]) == 11
    assert kept["growth_mebibytes"] < data.FLAT
    assert all(set(target) == {"target", "reached", "higher_is_better"} for target in result["targets"].values())
