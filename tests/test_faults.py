"""docs/faults.md says what the tests show and what the soak counted."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_test_that_the_page_names_is_there():
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`", (ROOT / "docs" / "faults.md").read_text())
    assert len(named) > 30
    for file, name in named:
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), name


def test_the_soaks_figures_are_those_of_its_result(monkeypatch, tmp_path):
    from benchmarks import soak

    page = tmp_path / "faults.md"
    page.write_text((ROOT / "docs" / "faults.md").read_text())
    monkeypatch.setattr(soak, "DOCS", page)
    soak.tell(json.loads(soak.RESULT.read_text()))
    assert page.read_text() == (ROOT / "docs" / "faults.md").read_text()


def test_a_lost_part_would_be_seen():
    from benchmarks.soak import lost_since

    before = {"main": "a", "assistant state": "state-0000020", "labels parts": "003"}
    kept = {"main": "a", "assistant state": "state-0000020", "labels parts": "004"}
    assert lost_since(before, kept, "resuming at step 20") == []
    assert lost_since(before, kept | {"main": "b"}, "") == ["main"]
    assert lost_since(before, kept, "resuming at step 10") == ["assistant state"]
    assert lost_since(before, kept | {"labels parts": "002"}, "") == ["labels parts"]
    assert lost_since(before, kept, "state-0000020: is passed over") == ["a state that was damaged"]
