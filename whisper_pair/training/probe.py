"""Seconds of a training step, from a few that leave the weights as they are."""

import itertools
import time

from ..config import Optimization

WARM_UP, TIMED = 1, 3  # steps of a probe


def probe(accelerator, module, settings: Optimization, batches, prepare, samples: int) -> float:
    """Seconds of one step, from a few on the first samples at a learning rate of 0, which leaves the weights alone."""
    import torch

    from .instability import InstabilityGuard
    from .loop import take_step
    from .sharding import prepared

    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.0, weight_decay=0.0)
    module, optimizer = prepared(accelerator, module, optimizer)
    guard, numbers, begun = InstabilityGuard(), itertools.cycle(range(samples)), 0.0
    module.train()
    for step in range(WARM_UP + TIMED):
        if step == WARM_UP:
            begun = time.perf_counter()
        micro = [
            batches.collate([batches.load(next(numbers), step) for _ in range(settings.batch_size)])
            for _ in range(settings.accumulation)
        ]
        tokens = float(sum(batch["tokens"] for batch in micro)) * accelerator.num_processes
        take_step(accelerator, module, optimizer, settings, micro, tokens, prepare, guard, step + 1)
    return (time.perf_counter() - begun) / TIMED
