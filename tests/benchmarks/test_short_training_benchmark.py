"""benchmarks/short_training.py over the synthetic corpus: rows are written one by one, and none is made twice."""

import json

from benchmarks import short_training
from benchmarks.cpu_tables import table

WINDOWS = {"full": 0.0, "clip + 1 s": 1.0}  # how much worse each is


def test_a_small_run_writes_its_rows_and_does_none_twice(demo_data, tmp_path, capsys):
    out = tmp_path / "result.json"
    given = ["train.epochs=1", "train.batch_size=4", "train.accumulation=1", "train.precision=fp32", "data.workers=0"]
    given += ["--speech", str(demo_data), "--model", str(demo_data / "micro-whisper"), "--work", str(tmp_path)]
    given += ["--out", str(out), "--clips", "2", "--device", "cpu", "--only"]
    short_training.main([*given, "LoRA and encoder, half short"])
    short_training.main([*given, "LoRA and encoder, half short", "LoRA and encoder, full"])
    rows = json.loads(out.read_text())["rows"]
    assert [row["variant"] for row in rows] == [
        "before fine-tuning",
        "LoRA and encoder, half short",
        "LoRA and encoder, full",
    ]
    assert all(row["windows"].keys() == {"full", "clip + 0.5 s", "clip + 1 s", "clip + 2 s"} for row in rows)
    assert all(row["cpu_seconds"] > 0 and row["steps"] > 0 for row in rows[1:])
    assert all(row["long_wer"] > 0 for row in rows)
    assert capsys.readouterr().out.count("LoRA and encoder, half short, seed 0") == 1


def test_a_text_that_stops_early_lacks_its_end_and_a_wrong_one_does_not():
    assert short_training.lacks_end("one two three four", "one two")
    assert not short_training.lacks_end("one two three four", "one two three")
    assert not short_training.lacks_end("one two three four", "one two five six")
    assert not short_training.lacks_end("one two", "")


def test_the_documents_table_has_the_means_of_the_seeds():
    def row(variant, seed, wer):
        long = {} if seed is None else {"long_wer": wer}
        kinds = {kind: {"wer": wer + extra, "loops": 2 * extra, "missing_ends": 1} for kind, extra in WINDOWS.items()}
        return {"variant": variant, "seed": seed, "cpu_seconds": 90.0 * (seed is not None), "windows": kinds} | long

    rows = [row("before fine-tuning", None, 0.6), row("short", 0, 0.4), row("short", 1, 0.5)]
    result = {"rows": rows, "command": "python benchmarks/short_training.py", "date": "2026-11-26"}
    result |= {"machine": {"cpu": "a CPU"}, "versions": {"torch": "2"}}
    made = (table("short_training-cpu", result) or "").splitlines()
    assert made[2] == "| before fine-tuning | 1 |  | 60.0 % | 160.0 % | 2.0 | 1.0 |  |"
    assert made[3] == "| short | 2 | 2 | 45.0 % | 145.0 % | 2.0 | 1.0 | 45.0 % |"
