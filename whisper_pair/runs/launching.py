"""This process among those of the launch: its number, and its device."""

import logging
import os
from collections.abc import Mapping
from datetime import timedelta

logger = logging.getLogger(__name__)

PATIENCE = timedelta(hours=6)  # processes wait for the slowest share of labels; NCCL's own ten minutes would end them


def this_process():
    """accelerate's PartialState: this process among those of the launch, for work that trains nothing."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def device_type(environment: Mapping[str, str] = os.environ) -> str:
    """cuda or cpu: where accelerate will put what this process trains."""
    import torch

    return "cuda" if torch.cuda.is_available() and not _on_cpu(environment) else "cpu"


def _on_cpu(environment: Mapping[str, str]) -> bool:
    return environment.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")


def warn_of_one_process_alone(environment: Mapping[str, str] = os.environ) -> None:
    """Warns where several processes were requested and one was started.

    Under --cpu accelerate 1.15 starts a single process whatever --num_processes says; the address at which the others
    would meet shows that they were requested.
    """
    on_cpu = _on_cpu(environment)
    if on_cpu and "MASTER_ADDR" in environment and not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(environment):
        logger.warning(
            "accelerate starts one process under --cpu, whatever --num_processes says, and this run goes on as one; "
            "for several processes on a CPU put a --config_file with distributed_type: MULTI_CPU in place of --cpu (in "
            "the sources: configs/accelerate/cpu.yaml)."
        )
