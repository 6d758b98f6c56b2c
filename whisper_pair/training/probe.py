"""Measures the seconds of a training step, with steps that leave the weights as they are."""

import itertools
import time
from typing import TYPE_CHECKING

from ..config import Optimization
from .batches import Batches
from .plan import Plan

if TYPE_CHECKING:
    from torch import nn

    from .step import Prepare

STEPS, WARM_UP = 4, 1  # of a probe, and how many of them are not timed


def probe(
    accelerator, module: "nn.Module", settings: Optimization, batches: Batches, prepare: "Prepare", plan: Plan
) -> float:
    """Seconds of one optimizer step: the mean of the first few of the plan, at a learning rate of 0."""
    import torch

    from .instability import InstabilityGuard
    from .sharding import prepared
    from .step import take_step

    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.0, weight_decay=0.0)
    module, optimizer = prepared(accelerator, module, optimizer)
    few = list(itertools.islice(plan.micro_batches(0, accelerator.process_index), STEPS * settings.accumulation))
    guard, drawn, begun = InstabilityGuard(), itertools.cycle(few), 0.0
    module.train()
    for step in range(STEPS):
        if step == WARM_UP:
            begun = time.perf_counter()
        micro = [batches.collate([batches.load(draw) for draw in next(drawn)]) for _ in range(settings.accumulation)]
        tokens = float(sum(batch.tokens for batch in micro)) * accelerator.num_processes
        take_step(accelerator, module, optimizer, settings, micro, tokens, prepare, guard, step + 1)
    return (time.perf_counter() - begun) / (STEPS - WARM_UP)
