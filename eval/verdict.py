"""Does the pair earn its place? The article's criteria and our own, each with its figure.

The article ("Speculative Decoding for 2x Faster Whisper Inference", 2023): the assistant at least 3x faster than the
main, at least 70 % of the tokens predicted, the output identical, 2x at batch 1. Ours: faster than greedy at every
batch up to 16, where a gain whose interval includes 1 is none. And the measurement itself must hold: counters equal to
the offline account, a baseline that says what the main says, no test clip that was trained on.
"""

from typing import Any

UP_TO = 16  # the greatest batch that must gain


def verdict_section(report: dict[str, Any]) -> dict[str, Any]:
    """From the report's other sections alone."""
    identity = report["identity"]
    criteria = [
        _criterion("assistant_speedup", report["cost"]["ours"]["assistant_speedup"], 3.0),
        _criterion("agreement", report["acceptance"]["agreement"], 0.7),
        _criterion("identical_output", _share(identity["identical"], identity["utterances"]), 1.0)
        | {"passed": identity["unexplained"] == 0},
    ]
    criteria += [_gain(row) for row in report["speed"]["rows"] if _is_pair(row) and row["batch_size"] <= UP_TO]
    criteria += _measurement(report)
    return {"passed": all(criterion["passed"] for criterion in criteria), "criteria": criteria}


def _is_pair(row: dict[str, Any]) -> bool:
    """The pair as its users run it: the draft length chosen by the engine."""
    return (row["engine"], row["mode"], row["assistant"], row["draft_tokens"]) == (
        "pair",
        "speculative",
        "ours",
        "auto",
    )


def _gain(row: dict[str, Any]) -> dict[str, Any]:
    target = 2.0 if row["batch_size"] == 1 else 1.0
    criterion = _criterion(f"speedup_batch_{row['batch_size']}", row["speedup"], target)
    return criterion | {"passed": criterion["passed"] and row["speedup_verdict"] == "faster"}


def _measurement(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Criteria without which no other figure counts."""
    rows, speed = report["speed"]["rows"], report["speed"]
    stock = [row for row in rows if (row["engine"], row["mode"]) == ("transformers", "greedy")]
    timed = [row for row in rows if row["engine"] == "pair" and row["mode"] != "assistant"]
    found = [
        _criterion("baseline_unexplained", sum(row["unexplained"] for row in stock), 0, higher=False),
        _criterion("leaked_clips", len(report["data"]["leaks"]["clips"]), 0, higher=False),
    ]
    if report["environment"]["dtype"] == "fp32":  # in half precision a near tie may also flip one count
        counters = report["acceptance"]["counters"]
        counted = [(counters["equal"], counters["utterances"])]
        counted += [(row["counters_equal"], speed["clips"]) for row in rows if row["counters_equal"] is not None]
        equal, utterances = (sum(column) for column in zip(*counted, strict=True))
        found.append(_criterion("counters_equal", _share(equal, utterances), 1.0))
        long = report["quality"]["long_form"]
        if long["skipped"] is None:
            found.append(_criterion("long_form_identical", _share(long["identical"], long["recordings"]), 1.0))
        same = sum(row["identical"] for row in timed)
        found.append(_criterion("timed_output_identical", _share(same, speed["clips"] * len(timed)), 1.0))
    return found


def _share(part: int, whole: int) -> float:
    return part / whole


def _criterion(name: str, figure: float, target: float, higher: bool = True) -> dict[str, Any]:
    passed = figure >= target if higher else figure <= target
    return {"name": name, "figure": figure, "target": target, "higher_is_better": higher, "passed": passed}
