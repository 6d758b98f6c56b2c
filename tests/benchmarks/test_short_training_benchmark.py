"""benchmarks/short_training.py over the synthetic corpus: rows are written one by one, and none is made twice."""

import json

from benchmarks import short_training


def test_a_small_run_writes_its_rows_and_does_none_twice(demo_data, tmp_path, capsys):
    out = tmp_path / "result.json"
    given = ["train.epochs=1", "train.batch_size=4", "train.accumulation=1", "train.precision=fp32", "data.workers=0"]
    given += ["--speech", str(demo_data), "--model", str(demo_data / "micro-whisper"), "--work", str(tmp_path)]
    given += ["--out", str(out), "--clips", "2", "--device", "cpu", "--only"]
    short_training.main([*given, "LoRA and encoder, short"])
    short_training.main([*given, "LoRA and encoder, short", "LoRA and encoder, full"])
    rows = json.loads(out.read_text())["rows"]
    assert [row["variant"] for row in rows] == [
        "before fine-tuning",
        "LoRA and encoder, short",
        "LoRA and encoder, full",
    ]
    assert all(row["windows"].keys() == {"full", "clip + 0.5 s", "clip + 1 s", "clip + 2 s"} for row in rows)
    assert all(row["cpu_seconds"] > 0 and row["steps"] > 0 for row in rows[1:])
    assert capsys.readouterr().out.count("LoRA and encoder, short, seed 0") == 1


def test_a_text_that_stops_early_lacks_its_end_and_a_wrong_one_does_not():
    assert short_training.lacks_end("one two three four", "one two")
    assert not short_training.lacks_end("one two three four", "one two three")
    assert not short_training.lacks_end("one two three four", "one two five six")
    assert not short_training.lacks_end("one two", "")
