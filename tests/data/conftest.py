"""What tests of corpora share."""

import pytest


@pytest.fixture
def no_copies_at_home(tmp_path, monkeypatch):
    """The datasets library keeps its copies in the test's folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
