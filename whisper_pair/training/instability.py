"""Checks that stop a training that has gone wrong, before it wastes hours. Each says in one sentence what to change.

Gradients are clipped, so a single large one does no harm. Several in a row that are a thousand times their median show
that the model no longer learns.
"""

import math
import statistics
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import TrainingError

EXPLODED = 1000.0  # times the median norm of the steps before
IN_A_ROW = 5  # such steps, or steps that fp16's loss scaling skipped
ENOUGH = 20  # norms that make a median worth comparing with


class InstabilityGuard:
    """Checks loss and gradient of every step, the same on all processes."""

    def __init__(self) -> None:
        self.norms: deque[float] = deque(maxlen=100)
        self.exploded = 0

    def check(self, step: int, loss: float, norm: float, names: Sequence[str], scaled: bool) -> None:
        """Raises TrainingError before the step is taken.

        `loss`: the mean per token; `norm`: of the gradient, before clipping; `names`: the step's windows; `scaled`:
        training in fp16, whose scaler skips a step that overflows.
        """
        clips = ", ".join(names)
        if not math.isfinite(loss):
            raise TrainingError(f"The loss became {loss} at step {step}, on {clips}; lower the learning rate.")
        typical = statistics.median(self.norms) if len(self.norms) >= ENOUGH else math.inf
        if not math.isfinite(norm) and not scaled:
            raise TrainingError(f"The gradient became {norm} at step {step}, on {clips}; lower the learning rate.")
        self.exploded = self.exploded + 1 if not math.isfinite(norm) or norm > EXPLODED * typical else 0
        if self.exploded >= (IN_A_ROW if math.isfinite(norm) else ENOUGH):
            raise TrainingError(
                f"The gradient's norm has been above {EXPLODED:g} times its median for {self.exploded} steps "
                f"({norm:.3g} at step {step}, on {clips}); lower the learning rate, or train with precision bf16 "
                "where it is fp16."
            )
        if math.isfinite(norm):
            self.norms.append(norm)


def out_of_memory(step: int, batch_size: int, accumulation: int, fits: int | None) -> TrainingError:
    """The error for a step without enough memory.

    `fits`: the largest batch that did fit; None: not tried, since sharded weights need all processes.
    """
    found = f"Out of memory at step {step} with batch_size {batch_size}"
    if fits:
        windows = batch_size * accumulation
        size = max(each for each in range(1, fits + 1) if windows % each == 0)
        found += f"; {fits} fits, and batch_size={size} with accumulation={windows // size} goes on with the same steps"
    elif fits == 0:
        found += "; not even 1 fits"
    return TrainingError(
        f"{found}; gradient_checkpointing=true, precision=bf16, a frozen encoder and train.parameters=lora take less."
    )


def largest_that_fits(run: Callable[[int], Any], batch_size: int) -> int:
    """The largest batch below `batch_size`, by halves, on which `run` finds memory; 0: not even one sample."""
    import torch
    from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

    size = batch_size // 2
    while size:
        clear_device_cache(garbage_collection=True)
        try:
            run(size)
            return size
        except (RuntimeError, torch.OutOfMemoryError) as error:
            if not should_reduce_batch_size(error):
                raise
        size //= 2
    return 0
