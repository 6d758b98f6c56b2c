"""What stops a training that has gone wrong, before it spoils hours: each guard one sentence with the fix.

Gradients are clipped, so a single large one does no harm. Several in a row, a thousand times their median, are no
longer gradients of a model that learns.
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
    """Watches loss and gradient of every step, all processes alike."""

    def __init__(self):
        self.norms: deque[float] = deque(maxlen=100)
        self.wild = 0

    def check(self, step: int, loss: float, norm: float, names: Sequence[str], scaled: bool) -> None:
        """Raises TrainingError before the step is taken. `scaled`: fp16, whose scaler skips a step that overflows."""
        told = ", ".join(names)
        if not math.isfinite(loss):
            raise TrainingError(f"The loss became {loss} at step {step}, on {told}; lower the learning rate.")
        typical = statistics.median(self.norms) if len(self.norms) >= ENOUGH else math.inf
        if not math.isfinite(norm) and not scaled:
            raise TrainingError(f"The gradient became {norm} at step {step}, on {told}; lower the learning rate.")
        self.wild = self.wild + 1 if not math.isfinite(norm) or norm > EXPLODED * typical else 0
        if self.wild >= (IN_A_ROW if math.isfinite(norm) else ENOUGH):
            raise TrainingError(
                f"The gradient's norm has been above {EXPLODED:g} times its median for {self.wild} steps ({norm:.3g} "
                f"at step {step}, on {told}); lower the learning rate, or train with precision bf16 where it is fp16."
            )
        if math.isfinite(norm):
            self.norms.append(norm)


def out_of_memory(step: int, batch_size: int, accumulation: int, fits: int | None) -> TrainingError:
    """`fits`: the largest batch that was seen to fit; None: not tried, since sharded weights cannot be tried alone."""
    said = f"Out of memory at step {step} with batch_size {batch_size}"
    if fits:
        spread = math.ceil(batch_size * accumulation / fits)
        said += f"; {fits} fits, and batch_size={fits} with accumulation={spread} goes on with the same steps"
    elif fits == 0:
        said += "; not even 1 fits"
    return TrainingError(
        f"{said}; gradient_checkpointing=true, precision=bf16, a frozen encoder and train.parameters=lora take less."
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
