"""Where figures are shown while a run is under way: Weights & Biases, TensorBoard or trackio, by accelerate's trackers.

Each stage is one run of the tracker, named OUTPUT-STAGE and grouped by the output's name. A stage that was stopped goes
on in its own run. Trackers are packages of their own, and services that may be out of reach.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..config import Config, dump_config
from ..errors import InputError
from .files import write_json

PACKAGES = {"wandb": ("wandb",), "trackio": ("trackio",), "tensorboard": ("tensorboard", "tensorboardX")}
PROJECT = "whisper-pair"
NUMBER_FILE = "tracker.json"  # in a stage's work folder
SAMPLE_RATE = 16_000  # of example audio


def refuse_missing(config: Config) -> None:
    """Raises InputError for a tracker that is not installed."""
    packages = PACKAGES.get(config.tracker, ())
    if packages and not any(map(find_spec, packages)):
        raise InputError(f"tracker: {config.tracker} is not installed; pip install {packages[0]}, or set tracker=none.")


def started(name: str, start: Callable[[], None]) -> None:
    """Raises InputError where a tracker does not start: each has its own kinds of error, for its service, its login,
    its folder."""
    try:
        start()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"tracker: {name} does not start ({reason}); fix that, or set tracker=none.") from error


def start_tracker(config: Config, stage: str, work: Path) -> Any:
    """A stage's run at the configured tracker: one of accelerate's trackers, started. The main process alone calls it.

    `stage`: train, distill or eval; `work`: its work folder, in which a stopped stage goes on.
    Raises InputError where the tracker does not start.
    """
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    logs, output = Path(config.output) / "logs", Path(config.output).resolve().name
    logs.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    number, is_new = _number(work)
    kind = LOGGER_TYPE_TO_CLASS[config.tracker]
    match config.tracker:
        case "tensorboard":  # whose runs are folders
            if is_new:
                shutil.rmtree(logs / stage, ignore_errors=True)  # of results that this stage replaces
            tracker = kind(stage, str(logs))
        case "wandb":
            if not _wandb_login():
                os.environ.setdefault("WANDB_MODE", "offline")
            names = {"name": f"{output}-{stage}", "group": output, "job_type": stage}
            tracker = kind(PROJECT, **names, id=f"{stage}-{number}", resume="allow", dir=str(logs))
        case _:
            tracker = kind(PROJECT, name=f"{output}-{stage}-{number}", group=output, resume="allow")
    started(config.tracker, tracker.start)
    if config.tracker == "tensorboard":  # its own way to store a configuration makes another run of it
        tracker.log({"config": f"```yaml\n{dump_config(config)}```"}, step=0)
    else:
        tracker.store_init_configuration({"stage": stage, **config.resolved()})
    return tracker


def _number(work: Path) -> tuple[str, bool]:
    """The run's number, and whether it was drawn now: a stage that goes on finds its own."""
    file = work / NUMBER_FILE
    is_new = not file.is_file()
    if is_new:
        write_json(file, {"number": uuid.uuid4().hex[:8]})
    return str(json.loads(file.read_text(encoding="utf-8"))["number"]), is_new


@dataclass(frozen=True)
class AudioExample:
    """A clip with what was transcribed of it."""

    name: str  # the clip's
    samples: np.ndarray  # float32 at 16 kHz
    text: str  # Markdown


def log_audio(tracker: Any, examples: Sequence[AudioExample], step: int) -> None:
    """Shows clips beside their texts in a run that `start_tracker` has started."""
    if tracker.name == "tensorboard":
        for number, example in enumerate(examples):
            tracker.tracker.add_audio(f"example-{number}", example.samples[None], step, SAMPLE_RATE)
            tracker.tracker.add_text(f"example-{number}", f"`{example.name}` {example.text}", step)
        return
    audio = import_module(tracker.name).Audio  # wandb's and trackio's take the same
    figures = {
        f"example-{number}": audio(example.samples, caption=f"{example.name}: {example.text}", sample_rate=SAMPLE_RATE)
        for number, example in enumerate(examples)
    }
    tracker.log(figures, step=step)


def _wandb_login() -> bool:
    """Whether wandb can log in by itself. Only the presence of a key is checked."""
    import netrc

    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
