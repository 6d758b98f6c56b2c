"""One optimizer step, over all micro-batches and processes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ..config import Optimization
from .batches import Batch
from .instability import InstabilityGuard
from .losses import SummedLoss
from .sharding import norm_of

Prepare = Callable[[Batch], Mapping[str, Any]]  # a batch -> the arguments of the module, on the device


class Step(NamedTuple):
    """One optimizer step, over all processes."""

    loss: float  # the mean per token
    gradient_norm: float  # before clipping
    parts: Mapping[str, float]  # what the loss is the sum of, each the mean per token

    @property
    def figures(self) -> dict[str, float]:
        """For the tracker."""
        parts = {f"loss_{name}": value for name, value in self.parts.items()}
        return {"loss": self.loss, "gradient_norm": self.gradient_norm, **parts}


def take_step(
    accelerator, module, optimizer, settings: Optimization, batches: Sequence[Batch], tokens: float,
    prepare: Prepare, guard: InstabilityGuard, number: int, *, weight: float = 1.0,
) -> Step:  # fmt: skip
    """Takes one optimizer step, the step `number`, over micro-batches that hold `tokens` on all processes. `weight`: of
    its gradient."""
    losses: list[SummedLoss] = []
    norm = mean = 0.0
    for batch in batches:
        with accelerator.accumulate(module):
            inputs = prepare(batch)  # outside of autocast: what is frozen runs in a precision of its own
            with accelerator.autocast():
                loss: SummedLoss = module(**inputs)
            losses.append(SummedLoss(loss.total.detach(), loss.parts))
            # processes are averaged and accelerate divides by the accumulation: undo both, then divide by the tokens
            accelerator.backward(loss.total * (weight * accelerator.num_processes * settings.accumulation / tokens))
            if accelerator.sync_gradients:
                norm = norm_of(accelerator.clip_grad_norm_(module.parameters(), settings.max_grad_norm))
                mean, *parts = _means(accelerator, losses, tokens)
                names = [name for batch in batches for name in batch.names]
                guard.check(number, mean, norm, names, accelerator.scaler is not None)
            optimizer.step()
            optimizer.zero_grad()
    return Step(mean, norm, dict(zip(losses[0].parts, parts, strict=True)))


def _means(accelerator, losses: Sequence[SummedLoss], tokens: float) -> list[float]:
    """The total and each part, over all micro-batches and processes, per token."""
    sums = torch.stack([torch.stack([loss.total, *loss.parts.values()]).float() for loss in losses]).sum(0)
    return (accelerator.reduce(sums, reduction="sum") / tokens).tolist()
