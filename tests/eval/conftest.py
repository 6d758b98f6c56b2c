"""A small evaluation of the untrained pair, as several files of tests run it."""

from pathlib import Path

import pytest
import yaml

from eval import common
from eval.measuring import cost
from whisper_pair.config.load import load_config

SMALL = {
    "timed_clips": 2,
    "repeats": 1,
    "batch_sizes": [1],
    "draft_tokens": [2],
    "limit": 3,
    "long_form_minutes": 0,
}


@pytest.fixture
def eval_config(pair, demo_data, tmp_path, monkeypatch):
    """Makes a config that evaluates the pair. Keyword arguments replace its eval settings or, `main`, `test` and
    `train`, its other parts. Plots, which take most of a small evaluation's time, are left to the tests of `judged`."""
    monkeypatch.setattr(cost, "TIMES", 1)
    monkeypatch.setattr(common, "draw", lambda figures, folder: None)
    monkeypatch.setattr(common, "page", lambda document, clips: "")

    def ask(main: Path = pair[0], test: Path = demo_data / "test", train: tuple = (), **settings):
        tree = {
            "language": "nl",
            "model": str(main),
            "output": str(tmp_path / "out"),
            "train": None,
            "data": {"train": list(train), "validation": [], "test": [{"folder": str(test)}], "workers": 0},
            "eval": {"assistant": str(pair[1]), **SMALL, **settings},
        }
        (tmp_path / "pair.yaml").write_text(yaml.safe_dump(tree))
        return load_config(tmp_path / "pair.yaml")

    return ask
