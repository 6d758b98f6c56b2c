"""Measures the seconds of a training step, with steps that leave the weights as they are."""

import itertools
import time
from typing import TYPE_CHECKING

from ..config import Optimization
from .batches import Batches

if TYPE_CHECKING:
    from torch import nn

    from .step import Prepare

WARM_UP, TIMED = 1, 3  # steps of a probe


def probe(
    accelerator, module: "nn.Module", settings: Optimization, batches: Batches, prepare: "Prepare", samples: int
) -> float:
    """Seconds of one optimizer step: the mean of a few, on the first of `samples` examples, at a learning rate of 0."""
    import torch

    from .instability import InstabilityGuard
    from .sharding import prepared
    from .short_steps import Draw
    from .step import take_step

    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.0, weight_decay=0.0)
    module, optimizer = prepared(accelerator, module, optimizer)
    guard, numbers, begun = InstabilityGuard(), itertools.cycle(range(samples)), 0.0
    module.train()
    for step in range(WARM_UP + TIMED):
        if step == WARM_UP:
            begun = time.perf_counter()
        micro = [
            batches.collate([batches.load(Draw(next(numbers), step)) for _ in range(settings.batch_size)])
            for _ in range(settings.accumulation)
        ]
        tokens = float(sum(batch.tokens for batch in micro)) * accelerator.num_processes
        take_step(accelerator, module, optimizer, settings, micro, tokens, prepare, guard, step + 1)
    return (time.perf_counter() - begun) / TIMED
