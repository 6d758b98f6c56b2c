"""report.json's classes and its schema say the same."""

import json
import typing

import pytest

from whisper_pair.report import quality, sections
from whisper_pair.report.schema import SCHEMA

TREE = json.loads(SCHEMA.read_text(encoding="utf-8"))
OPEN = {"environment"}  # more may stand there than the schema knows


def resolve(node: dict) -> dict:
    while "$ref" in node:
        found: dict = TREE
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def classes(kind) -> list[type]:
    """The classes of sections of a field's type."""
    if typing.is_typeddict(kind):
        return [kind]
    return [one for part in typing.get_args(kind) for one in classes(part)]


def objects(node: dict) -> list[dict]:
    """The objects with named fields that a schema's node may be."""
    node = resolve(node)
    if isinstance(node.get("additionalProperties"), dict) and "metric" not in node["properties"]:  # by assistant
        return objects(node["additionalProperties"])
    if node.get("properties"):
        return [node]
    parts = node.get("anyOf", []) + [
        node[key] for key in ("items", "additionalProperties") if isinstance(node.get(key), dict)
    ]
    return [found for part in parts for found in objects(part)]  # fmt: skip


def compare(kind: type, node: dict, path: str) -> None:
    hints = typing.get_type_hints(kind)
    known = node["properties"]
    if path.split(".")[-1] in OPEN:
        assert set(known) <= set(hints), path
    elif path != "report.quality.long_form":  # measured or skipped: two classes
        assert set(hints) == set(known), path
        assert set(node["required"]) == set(kind.__required_keys__), path
    for name, hint in hints.items():
        for one, its in zip(classes(hint), objects(known.get(name, {})), strict=False):
            if one is not quality.LongFormSkipped:
                compare(one, its, f"{path}.{name}")


@pytest.mark.parametrize(
    ("kind", "node"), [(sections.Report, TREE), (sections.MainReport, TREE["$defs"]["main_report"])]
)
def test_each_section_has_the_fields_of_its_schema(kind, node):
    compare(kind, node, "report" if kind is sections.Report else "main")
