"""Material that several tests share: the synthetic corpus, small, and its micro Whisper."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches for the Hub

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def material(tmp_path_factory) -> Path:
    """train/ (20 clips), validation/ (4), test/ (5) and micro-whisper/."""
    from whisper_pair.synthetic import Settings, synthesize

    folder = tmp_path_factory.mktemp("material")
    synthesize(folder, Settings(clips=20, validation=4, test=5))
    return folder


@pytest.fixture(scope="session")
def write_config(material):
    """Writes a pair's config over the material; keyword arguments replace or add sections."""

    def write(path: Path, **sections) -> Path:
        config = {
            "language": "nl",
            "model": str(material / "micro-whisper"),
            "output": str(path.parent / "output"),
            "data": {
                "train": [{"folder": str(material / "train"), "speaker": "speaker"}],
                "validation": [{"folder": str(material / "validation")}],
                "test": [{"folder": str(material / "test")}],
                "workers": 0,
            },
            "train": {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3, "evaluations": 1, "checkpoints": 0},
            "distill": {
                "layers": 1,
                "epochs": 1,
                "batch_size": 4,
                "evaluations": 1,
                "checkpoints": 0,
                "cache": "none",  # auto goes by the clock
            },
            "eval": {"draft_tokens": [1, 2, 4], "batch_sizes": [1, 2], "timed_clips": 2, "repeats": 2},
        }
        for name, values in sections.items():
            config[name] = {**config[name], **values} if isinstance(values, dict) and name in config else values
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def command():
    """Runs a Python module as its user would, in the checkout, with one thread; returns the finished process."""

    def run(*arguments, **environment) -> subprocess.CompletedProcess:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
        return subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
        )

    return run
