"""report.json's schema: what a report must hold before it is written, and what others may rely on."""

import json
from pathlib import Path
from typing import Any, Literal, cast

from ..errors import InputError
from .sections import MainReport, Report

VERSION = 5
SCHEMA = Path(__file__).with_name("report.schema.json")


def problems(report: Any, kind: Literal["pair", "main"] = "pair") -> list[str]:
    """Where a report departs from the schema, one sentence each. `kind`: of a pair, or of a main alone."""
    import jsonschema

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    if kind == "main":  # the pair's properties stay, for its references, and none is required
        schema = {"$defs": schema["$defs"], "$ref": "#/$defs/main_report", "properties": schema["properties"]}
        del schema["properties"]["quality"], schema["properties"]["utterances"]
    errors = jsonschema.Draft202012Validator(schema).iter_errors(report)
    return [f"{error.json_path}: {error.message[:200]}" for error in sorted(errors, key=lambda e: e.json_path)]


def check(report: Report | MainReport, kind: Literal["pair", "main"] = "pair") -> None:
    """AssertionError where our own report does not fit: a mistake of ours."""
    found = problems(report, kind)
    if found:
        raise AssertionError("the report does not fit its schema: " + "; ".join(found[:5]))


def read_report(path: str | Path) -> Report:
    """A pair's. Raises InputError for a file that is no report of this version."""
    return cast(Report, _read(path, "pair"))


def read_main_report(path: str | Path) -> MainReport:
    """Of a main that was evaluated alone; the same errors."""
    return cast(MainReport, _read(path, "main"))


def _read(path: str | Path, kind: Literal["pair", "main"]) -> Any:
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: cannot be read as a report, evaluate again ({reason}).") from error
    found = problems(report, kind)
    if found:
        raise InputError(f"{path}: is no report of version {VERSION} ({found[0]}); evaluate again.")
    return report
