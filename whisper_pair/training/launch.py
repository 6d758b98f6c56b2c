"""The Accelerator of a stage, as configuration and launcher set it, and the start of a stage on all processes."""

import torch

from ..config import Config, Optimization
from ..errors import InputError
from ..precision import resolved
from ..runs import PATIENCE, Stage, device_type, start_tracker
from .sharding import refuse_other_sharding


def make_accelerator(config: Config, settings: Optimization, stage: str):
    """accelerate's Accelerator for a stage ("train" or "distill"), as the configuration and the launcher set it.

    Raises InputError where the two contradict each other.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs

    refuse_other_sharding()
    precision = resolved(settings.precision, device_type(), f"{stage}.precision", trains=True)
    accelerator = Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=not torch.cuda.is_available(),  # so that several processes on a CPU find each other
        gradient_accumulation_steps=settings.accumulation,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if accelerator.gradient_accumulation_steps != settings.accumulation:
        raise InputError(
            f"{stage}.accumulation: expected the launcher's {accelerator.gradient_accumulation_steps}, found "
            f"{settings.accumulation}; set gradient_accumulation_steps in the launcher's file to the same."
        )
    return accelerator


def begin_stage(accelerator, stage: Stage, config: Config) -> None:
    """Makes the stage's folder and starts the tracker, on the main process; all processes go on together.

    Raises InputError where the tracker does not start.
    """
    if accelerator.is_main_process:
        stage.begin(config)
        if config.tracker != "none":
            name = {"main": "train", "assistant": "distill"}[stage.folder.name]
            accelerator.trackers.append(start_tracker(config, name, stage.work))
    accelerator.wait_for_everyone()
