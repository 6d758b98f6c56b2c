"""Fixtures that several tests share: a small synthetic corpus, its micro Whisper, and an untrained pair."""

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches for the Hub

os.environ.setdefault("WHISPER_PAIR_CACHE", tempfile.mkdtemp(prefix="whisper-pair-"))  # nor into the user's home

ROOT = Path(__file__).parent.parent
LIMIT = 19  # tokens of a text of the untrained pair


@pytest.fixture(autouse=True)
def messages(caplog):
    """What the library logs is in `caplog`; what a command in the process of the tests installs goes with the test."""
    logger = logging.getLogger("whisper_pair")
    before = list(logger.handlers)
    caplog.set_level(logging.INFO, logger.name)
    yield
    logger.handlers[:] = before


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory) -> Path:
    """train/ (20 clips), validation/ (4), test/ (5) and micro-whisper/."""
    from whisper_pair.synthetic import Settings, synthesize

    folder = tmp_path_factory.mktemp("demo_data")
    synthesize(folder, Settings(clips=20, validation=4, test=5))
    return folder


@pytest.fixture(scope="session")
def write_config(demo_data):
    """Writes a pair's config over the demo data; keyword arguments replace or add sections."""

    def write(path: Path, **sections) -> Path:
        config = {
            "language": "nl",
            "model": str(demo_data / "micro-whisper"),
            "output": str(path.parent / "output"),
            "data": {
                "train": [{"folder": str(demo_data / "train"), "speaker": "speaker"}],
                "validation": [{"folder": str(demo_data / "validation")}],
                "test": [{"folder": str(demo_data / "test")}],
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


@pytest.fixture(scope="session")
def pair(tmp_path_factory, demo_data) -> tuple[Path, Path]:
    """An untrained main of short texts, and an assistant cut from it, which agrees with it now and then."""
    import torch
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    from distill.student import build_student
    from whisper_pair.checkpoints.identity import encoder_sha256, vocabulary_sha256
    from whisper_pair.checkpoints.manifest import PairManifest

    folder = tmp_path_factory.mktemp("pair")
    torch.manual_seed(3)
    main = WhisperForConditionalGeneration.from_pretrained(demo_data / "micro-whisper")
    decoder = main.model.decoder
    spread = 2 * decoder.embed_tokens.weight.std()
    decoder.embed_positions.weight.data = spread * torch.randn_like(decoder.embed_positions.weight)  # texts that vary
    for layer in decoder.layers:
        layer.encoder_attn.out_proj.weight.data *= 6  # and differ from clip to clip
    main.generation_config.max_length = LIMIT
    end, size = main.generation_config.eos_token_id, main.config.vocab_size
    main.generation_config.suppress_tokens = list(range(end + 1, size))  # text alone, as a trained main would say
    main.save_pretrained(folder / "main")
    processor = WhisperProcessor.from_pretrained(demo_data / "micro-whisper")
    assistant = build_student(main, (0, 1, 2, 3, 4))
    places = assistant.model.decoder.embed_positions.weight
    places.data += 0.8 * spread * torch.randn_like(places)
    assistant.save_pretrained(folder / "assistant")
    for part in ("main", "assistant"):
        processor.save_pretrained(folder / part)
    pair_manifest = PairManifest(
        "main",
        encoder_sha256(folder / "main"),
        vocabulary_sha256(processor.tokenizer),
        (0, 1, 2, 3, 4),
        "nl",
        "transcribe",
    )
    pair_manifest.save(folder / "assistant")
    return folder / "main", folder / "assistant"


@pytest.fixture(scope="session")
def judged(pair, demo_data, command, tmp_path_factory) -> Path:
    """The folder that `whisper-pair evaluate` leaves; made by the first of pytest's workers that asks for it."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "judged"
    command_line = [
        "--main",
        pair[0],
        "--assistant",
        pair[1],
        "--data",
        demo_data / "test",
        "--language",
        "nl",
        "--out",
        out,
    ]
    settings = ["eval.timed_clips=3", "eval.repeats=3", "eval.batch_sizes=[1, 2]", "eval.draft_tokens=[1, 3]"]
    with FileLock(f"{out}.lock"):
        if not out.exists():
            done = command("-m", "whisper_pair.cli", "evaluate", *command_line, *settings)
            assert done.returncode == 0, done.stderr
    return out
