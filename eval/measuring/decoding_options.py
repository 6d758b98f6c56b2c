"""The best measured draft length, written where it is used: into the assistant's own files.

transformers reads `num_assistant_tokens` and its schedule from the assistant's generation_config alone. The engine
measures for itself.
"""

import json
from pathlib import Path

from whisper_pair.report import Report
from whisper_pair.runs import write_json


def best_draft_tokens(report: Report) -> int:
    """The best draft length of the smallest batch that was timed."""
    batches = report["prediction"]["by_batch_size"]
    return min(batches, key=lambda batch: batch["batch_size"])["best_draft_tokens"]


def write_best_draft_tokens(assistant: Path, report: Report) -> None:
    """Into the assistant's generation_config.json; nothing where drafting does not pay."""
    best = best_draft_tokens(report)
    file = assistant / "generation_config.json"
    if best and file.is_file():
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings |= {"num_assistant_tokens": best, "num_assistant_tokens_schedule": "constant"}
        write_json(file, settings | {"assistant_confidence_threshold": 0.0})  # which would shorten the drafts
