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

STEPS, WARM_UP = 4, 1  # of each kind, on full windows and on short ones; how many of them are not timed


def probe(
    accelerator, module: "nn.Module", settings: Optimization, batches: Batches, prepare: "Prepare", plan: Plan
) -> float:
    """Seconds of one optimizer step of the plan: the mean of the first few on full windows and of the first few on
    short ones, each as often as it is taken, at a learning rate of 0."""
    import torch

    from .instability import InstabilityGuard
    from .sharding import prepared
    from .step import take_step

    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.0, weight_decay=0.0)
    module, optimizer = prepared(accelerator, module, optimizer)
    guard, number, seconds = InstabilityGuard(), 0, 0.0
    module.train()
    for steps in _kinds(plan):
        begun = 0.0
        for place in range(STEPS):
            if place == WARM_UP:
                begun = time.perf_counter()
            number += 1
            draws = plan.micro_batches(steps[place % len(steps)], accelerator.process_index)
            micro = [
                batches.collate([batches.load(draw) for draw in some])
                for some in itertools.islice(draws, settings.accumulation)
            ]
            tokens = float(sum(batch.tokens for batch in micro)) * accelerator.num_processes
            take_step(accelerator, module, optimizer, settings, micro, tokens, prepare, guard, number)
        seconds += (time.perf_counter() - begun) / (STEPS - WARM_UP) * len(steps)
    return seconds / plan.steps


def _kinds(plan: Plan) -> list[list[int]]:
    """The numbers of the plan's steps on full windows and of those on short ones, where there are any."""
    short = [step for step in range(plan.steps) if plan.is_short(step)]
    full = [step for step in range(plan.steps) if not plan.is_short(step)]
    return [steps for steps in (full, short) if steps]
