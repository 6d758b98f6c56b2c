"""Does the pair earn its place? The article's criteria and our own, each with its figure."""

from typing import Any


def verdict_section(report: dict[str, Any]) -> dict[str, Any]:
    """The report's `verdict`, from its other sections alone."""
    identity = report["identity"]
    criteria = [
        _criterion("assistant_speedup", report["cost"]["ours"]["assistant_speedup"], 3.0),
        _criterion("agreement", report["acceptance"]["agreement"], 0.7),
        {
            "name": "identical_output",
            "figure": identity["identical"] / identity["utterances"],
            "target": 1.0,
            "passed": identity["unexplained"] == 0,
        },
    ]
    for row in report["speed"]["rows"]:
        if (row["engine"], row["mode"], row["assistant"]) == ("pair", "speculative", "ours"):
            batch = row["batch_size"]
            criteria.append(_criterion(f"speedup_batch_{batch}", row["speedup"], 2.0 if batch == 1 else 1.0))
    return {"passed": all(criterion["passed"] for criterion in criteria), "criteria": criteria}


def _criterion(name: str, figure: float, target: float) -> dict[str, Any]:
    return {"name": name, "figure": figure, "target": target, "passed": figure >= target}
