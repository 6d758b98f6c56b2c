"""The benchmarks for a GPU run at small shapes on a CPU, and say what they should."""

import json
from dataclasses import replace

import pytest

from benchmarks import exactness, gpu, service


@pytest.fixture
def few_cells(monkeypatch):
    """Of one main: 2 assistants, with and without timestamps, 2 ways to decode 5 windows."""
    monkeypatch.setattr(exactness, "WINDOWS", 5)
    monkeypatch.setattr(exactness, "BATCHES", ((3, "auto"),))
    monkeypatch.setattr(exactness, "EXTRAS", ({}, {"log_probabilities": True}))


def test_the_engine_is_transformers_token_for_token_in_every_cell(tmp_path, few_cells):
    out = tmp_path / "exactness.json"
    result = exactness.main(["--seeds", "1", "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert len(result["rows"]) == 2 * 2 * 2
    assert not any(row["differing"] or row["failed"] for row in result["rows"])
    (target,) = result["targets"].values()
    assert target["reached"] == target["target"] == 1.0


def test_a_cell_that_differs_or_fails_is_counted_and_the_others_run(tmp_path, few_cells, monkeypatch):
    decode, calls = exactness.Engine.decode, []

    def broken(self, *given, **named):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("no kernel")
        rows = decode(self, *given, **named)
        if len(calls) == 3:
            rows[4].tokens[0] += 1
        return rows

    monkeypatch.setattr(exactness.Engine, "decode", broken)
    result = exactness.main(["--seeds", "1", "--out", str(tmp_path / "exactness.json")])
    assert result["rows"][1]["failed"] == "RuntimeError: no kernel"
    assert result["rows"][2]["differing"] == [4]
    (target,) = result["targets"].values()
    assert target["reached"] == pytest.approx(6 / 8)


def test_clips_of_unlike_length_go_through_one_queue_and_each_has_its_latency(tmp_path):
    out = tmp_path / "service.json"
    few = ["--shape", "tiny-test", "--in-flight", "1", "3", "--seconds", "1", "4", "--clips", "6", "--threads", "1"]
    result = service.main([*few, "--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert str(tmp_path) not in result["command"]
    assert len(result["rows"]) == 2 * 2 * 2
    for row in result["rows"]:
        assert row["clips"] == max(6, 3 * row["in_flight"])
        assert 0 < row["latency_p50"] <= row["latency_p95"] <= row["seconds"]
        assert row["windows_per_second"] == pytest.approx(row["clips"] / row["seconds"], rel=0.01)
        assert row["rtfx"] == pytest.approx(row["clip_seconds"] * row["windows_per_second"], rel=0.01)
    tokens = {row["clip_seconds"]: row["tokens"] / row["clips"] for row in result["rows"]}
    assert 2.4 <= tokens[1.0] <= 5.3
    assert 4 * 2.4 <= tokens[4.0] <= 4 * 5.3


def test_a_clips_latency_ends_with_its_last_token(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(service.time, "perf_counter", lambda: float(next(now)))
    pair = type("Pair", (), {"features": ["a", "b"]})
    queue = service.Queue(pair, 2)
    assert list(queue) == ["a", "b"]  # drawn at 0 and 1
    for index in (0, 1, 1, 0):  # at 2, 3, 4 and 5
        queue.on_round(index, None)
    assert queue.latencies == [3.0, 5.0]


def test_one_command_runs_all_parts_and_leaves_a_result_of_each_though_one_fails(tmp_path, monkeypatch):
    small = [word if word != "600" else "1" for word in gpu.PARTS["pipeline"].small]  # seconds of a stage: too few
    monkeypatch.setitem(gpu.PARTS, "pipeline", replace(gpu.PARTS["pipeline"], small=tuple(small)))
    few = ["--machine", "here", "--shape", "small", "--results", str(tmp_path), "--minutes", "15"]
    assert gpu.main(few) == 1
    found = {name: json.loads((tmp_path / f"{name}-here.json").read_text()) for name in gpu.PARTS if name != "kernels"}
    assert len(found) == 9
    assert not (tmp_path / "kernels-here.json").exists()  # a GPU's alone
    for name, result in found.items():
        assert result["rows"]
        assert str(tmp_path) not in result["command"]
        assert ("failed" in result) == (name == "pipeline")
        assert bool(result["targets"]) == (name != "pipeline")
    assert found["pipeline"]["failed"][0] == "ended with 1"
    assert found["pipeline"]["rows"][0]["failed"] == ["not done in 1 s"]
    assert {row.get("measure") for row in found["decoding"]["rows"]} == {"memory", "encoder", "decode step", None}
    assert {row["engine"] for row in found["compiled"]["rows"] if "engine" in row} == {"pair", "compiled"}
    for part, more in (("ahead", {"always-ahead"}), ("beside", set())):
        engines = {row["engine"] for row in found[part]["rows"] if "engine" in row}
        assert engines == {"pair", "waiting", "side-stream"} | more
        targets = " ".join(found[part]["targets"])
        assert "speculative: rounds ahead over waiting" in targets
        assert "side-stream over plain" in targets
        assert ("always-ahead over plain" in targets) == bool(more)
    assert {row["engine"] for row in found["short"]["rows"]} == {"pair", "short-windows"}
    targets = found["short"]["targets"]
    assert targets["micro, greedy: short windows a second over full ones, 2 clips of 1 s in flight"]["target"] == 2.0
    assert not targets["micro, greedy: latency in short windows over full ones, 1 clips of 1 s in flight"][
        "higher_is_better"
    ]


def test_a_part_that_fails_or_is_late_is_recorded_and_the_others_run(tmp_path, monkeypatch):
    def part(limit, code):
        return gpu.Part("", limit, (), ("-c", code))

    partial = (
        'import sys, pathlib; pathlib.Path(sys.argv[-1]).write_text(\'{"rows": [1], "targets": {}}\'); sys.exit(3)'
    )
    child = "import subprocess, sys, time; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    parts = {
        "broken": part(60, "raise SystemExit('no such kernel')"),
        "partial": part(60, partial),
        "late": part(3, child),
        "good": part(60, partial.replace("exit(3)", "exit(0)")),
    }
    monkeypatch.setattr(gpu, "PARTS", parts)
    python = gpu.subprocess.Popen
    monkeypatch.setattr(
        gpu.subprocess, "Popen", lambda command, **named: python([command[0], *command[2:]], **named)
    )  # without the benchmark's file
    assert gpu.main(["--machine", "here", "--shape", "small", "--results", str(tmp_path)]) == 3
    found = {name: json.loads((tmp_path / f"{name}-here.json").read_text()) for name in parts}
    assert found["broken"]["failed"] == ["ended with 1", "no such kernel"]
    assert (found["partial"]["rows"], found["partial"]["failed"]) == ([1], ["ended with 3"])
    assert found["late"]["failed"][0] == "not done in 3 s"
    assert "failed" not in found["good"]
    assert gpu.main(["--machine", "here", "--shape", "small", "--results", str(tmp_path), "--minutes", "0"]) == 4
    assert json.loads((tmp_path / "good-here.json").read_text())["failed"] == ["no time was left of 0 minutes"]
