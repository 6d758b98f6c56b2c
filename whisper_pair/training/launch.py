"""The Accelerator of a stage, as configuration and launcher set it, and the start of a stage on all processes."""

import json
import os
from pathlib import Path

import torch

from ..config import Config, Optimization
from ..errors import InputError
from ..precision import resolved
from ..runs import PATIENCE, Stage, device_type, started
from .sharding import refuse_other_sharding


def make_accelerator(config: Config, settings: Optimization, stage: str):
    """accelerate's Accelerator for a stage ("train" or "distill"), as the configuration and the launcher set it.

    Raises InputError where the two contradict each other.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs

    refuse_other_sharding()
    precision = resolved(settings.precision, device_type(), f"{stage}.precision", trains=True)
    if config.tracker == "wandb" and not _wandb_login():
        os.environ.setdefault("WANDB_MODE", "offline")
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=not torch.cuda.is_available(),  # so that several processes on a CPU find each other
        gradient_accumulation_steps=settings.accumulation,
        log_with=None if config.tracker == "none" else config.tracker,
        project_dir=str(Path(config.output) / "logs"),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if accelerator.gradient_accumulation_steps != settings.accumulation:
        raise InputError(
            f"{stage}.accumulation: expected the launcher's {accelerator.gradient_accumulation_steps}, found "
            f"{settings.accumulation}; set gradient_accumulation_steps in the launcher's file to the same."
        )
    return accelerator


def begin_stage(accelerator, stage: Stage, config: Config) -> None:
    """Makes the stage's folder and starts the tracker, on the main process; all processes go on together."""
    if accelerator.is_main_process:
        stage.begin(config)
    accelerator.wait_for_everyone()
    if config.tracker != "none":
        logs = Path(accelerator.project_dir)
        logs.mkdir(exist_ok=True)
        about = {"stage": stage.folder.name, "config": json.dumps(config.resolved())}
        settings = {"config": about, "init_kwargs": {"wandb": {"dir": str(logs)}}}
        started(config.tracker, lambda: accelerator.init_trackers("whisper-pair", **settings))


def _wandb_login() -> bool:
    """Whether wandb can log in by itself. Only the presence of a key is checked."""
    import netrc

    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
