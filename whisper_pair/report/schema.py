"""report.json's schema: what a report must hold before it is written, and what others may rely on."""

import json
from pathlib import Path
from typing import Any, cast

from ..errors import InputError
from .sections import Report

VERSION = 4
SCHEMA = Path(__file__).with_name("report.schema.json")


def problems(report: Any) -> list[str]:
    """Where a report departs from the schema, one sentence each."""
    import jsonschema

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(schema).iter_errors(report)
    return [f"{error.json_path}: {error.message[:200]}" for error in sorted(errors, key=lambda e: e.json_path)]


def check(report: Report) -> None:
    """AssertionError where our own report does not fit: a mistake of ours."""
    found = problems(report)
    if found:
        raise AssertionError("the report does not fit its schema: " + "; ".join(found[:5]))


def read_report(path: str | Path) -> Report:
    """Raises InputError for a file that is no report of this version."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a report ({' '.join(str(error).split())[:120]}).") from error
    found = problems(report)
    if found:
        raise InputError(f"{path}: is no report of version {VERSION} ({found[0]}); evaluate the pair again.")
    return cast(Report, report)
