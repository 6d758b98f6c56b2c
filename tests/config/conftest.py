"""Config files of a test."""

from pathlib import Path

import pytest
import yaml

from tests.config.smallest_config import SMALLEST


@pytest.fixture
def write(tmp_path):
    """Writes a tree, or YAML text, as a config file."""

    def to_file(content) -> Path:
        path = tmp_path / "pair.yaml"
        text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def smallest(write):
    return write(SMALLEST)
