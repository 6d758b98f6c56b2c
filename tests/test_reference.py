"""The reference pages hold every key, command and exported name, each with its reason: they are made from the code."""

import dataclasses
import importlib.util

import whisper_pair
from tests.conftest import ROOT
from whisper_pair.cli import COMMANDS
from whisper_pair.config.schema import Config

spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


def test_every_key_of_a_config_is_documented_with_its_type_and_its_reason():
    page = reference.config_page()
    for path, kind in reference.sections(Config, ""):
        assert not path or f"## {path}\n" in page
        for row, field in zip(reference.rows(kind), dataclasses.fields(kind), strict=True):
            assert f"| {' | '.join(row)} |" in page
            assert row[1], f"{path}.{field.name} has no type"
            of_a_section = "see below" in row[1]
            assert row[3] or of_a_section or field.name == "precision", f"{path}.{field.name}: no reason"


def test_a_default_is_shown_as_yaml_has_it():
    page = reference.config_page()
    assert "| `seed` | whole number | `0` |" in page
    assert "| `pack` | true or false | `true` |" in page
    assert "| `revision` | text or null | `null` |" in page


def test_every_command_and_every_exported_name_is_documented():
    commands, python = reference.commands_page(), reference.python_page()
    assert all(f"## whisper-pair {name}\n" in commands for name in COMMANDS)
    for name in whisper_pair.__all__:
        assert getattr(whisper_pair, name), name
        assert name == "__version__" or f"## {name}\n" in python
