"""A finished run for which nothing was trained: a main, an assistant cut from it, the demo's figures as its report."""

import json
import shutil
from pathlib import Path

import torch
import yaml

from distill.student import build_student
from tests.conftest import ROOT
from whisper_pair.checkpoints.identity import encoder_sha256, vocabulary_sha256
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.checkpoints.manifest import PairManifest
from whisper_pair.config.load import load_config


def write_run(output: Path, model: Path, config: Path, max_length: int, main: str | None = None) -> None:
    """`main` is the main's name in pair.json. `max_length` bounds what the untrained main says: it would not end."""
    shutil.copytree(model, output / "main")
    settings = json.loads((output / "main" / "generation_config.json").read_text())
    (output / "main" / "generation_config.json").write_text(json.dumps(settings | {"max_length": max_length}))
    whole, processor = load_main(output / "main", torch.float32), load_processor(output / "main")
    build_student(whole, (0,)).save_pretrained(output / "assistant")
    processor.save_pretrained(output / "assistant")
    hashes = encoder_sha256(output / "main"), vocabulary_sha256(processor.tokenizer)
    PairManifest(main or str(output / "main"), *hashes, (0,), "nl", "transcribe").save(output / "assistant")
    for part in ("main", "assistant"):
        (output / part / "provenance.json").write_text(json.dumps({"argv": [str(output)]}))
    (output / "config.yaml").write_text(yaml.safe_dump(load_config(config).resolved()))
    write_report(output, failed=[])


DRAFTED = {"drafted_rounds": 9}  # an older report does not count them
UTTERANCE = {"clip": "one.wav", "seconds": 2.0, "reference": "Een zin.", "main": {"text": "Een zin."}}
UTTERANCE |= {"assistant": {"text": "En zin."}}


def write_report(output: Path, failed: list[str]) -> None:
    """The demo's committed result, as the report of this run."""
    result = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())
    sections = {key: result[key] for key in ("data", "acceptance", "compared", "quality", "identity", "cost")}
    known = {"hardware": result["machine"], "versions": result["versions"], "dtype": "fp32", "attention": "sdpa"}
    report = sections | {
        "pair": result["pair"] | {"encoder_sha256": encoder_sha256(output / "main")},
        "speed": {"clips": 40, "audio_seconds": 92.0, "repeats": 3, "rows": [DRAFTED | row for row in result["rows"]]},
        "timeline": {"clip": "one.wav"},
        "utterances": [UTTERANCE],
        "environment": known | {"date": result["date"], "git_commit": None, "seed": 0},
        "verdict": {
            "passed": not failed,
            "criteria": [{"name": name, "passed": name not in failed, "kept": False} for name in result["targets"]],
        },
    }
    (output / "eval").mkdir(exist_ok=True)
    (output / "eval" / "report.json").write_text(json.dumps(report))
