"""Reading what an evaluation wrote."""

import json
from pathlib import Path


def report_of(config) -> dict:
    return json.loads((Path(config.output) / "eval" / "report.json").read_text())


def criterion(report: dict, name: str) -> dict:
    return next(c for c in report["verdict"]["criteria"] if c["name"] == name)
