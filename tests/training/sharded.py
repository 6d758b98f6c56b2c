"""Run by test_sharding.py: a stage's command that prints its curve, with FSDP2 over gloo where it is launched.

accelerate 1.15 shards on GPUs alone: on a CPU it calls the launch MULTI_CPU, whose FSDP settings it ignores. Here
it gets MULTI_GPU, on the CPU; all else is its own code and torch's. STOP_AT: the step after which SIGTERM arrives.
"""

import importlib
import os
import signal
import sys

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType

from whisper_pair.training import loop as training

if __name__ == "__main__":
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
        PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    log, step = Accelerator.log, training.take_step

    def logged(self, values, **more) -> None:
        if self.is_main_process and "loss" in values:
            print("curve", *(values[name] for name in ("loss", "gradient_norm")))
        log(self, values, **more)

    def counted(*arguments, **more):
        if arguments[-1] == int(os.environ.get("STOP_AT", "-1")) and os.environ.get("RANK") == "0":
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments, **more)

    Accelerator.log, training.take_step = logged, counted
    stage, *arguments = sys.argv[1:]
    sys.exit(importlib.import_module(f"{stage}.__main__").main(arguments))
