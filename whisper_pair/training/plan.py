"""How samples become steps.

Samples come from one endless stream, epoch after epoch, each in its own seeded order. Position i of the stream is the
same sample, with the same augmentation, whatever the number of processes, workers or restarts. Steps on short windows
(short_steps.py) stand between the others and leave the stream where it is.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from ..config import Optimization
from .short_steps import Draw, EqualSteps, ShortSteps

FAR = 10_000_000  # steps, by which the share of short ones is exact
LEFT_OUT = (
    "batch_size", "accumulation", "checkpoints", "save_minutes", "keep", "save_dtype", "gradient_checkpointing",
    "cache",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How samples become steps: a step takes batch_size x accumulation x processes stream positions in a row."""

    samples: int  # in one epoch
    batch_size: int  # samples in one forward pass of one process
    accumulation: int
    processes: int
    epochs: float
    seed: int
    short: ShortSteps | EqualSteps | None = None  # steps on short windows; None: there are none

    @classmethod
    def of(cls, settings: Optimization, samples: int, processes: int, seed: int) -> "Plan":
        """`samples`: in one epoch."""
        return cls(samples, settings.batch_size, settings.accumulation, processes, settings.epochs, seed)

    @property
    def per_step(self) -> int:
        """Samples in a step, over all processes."""
        return self.batch_size * self.accumulation * self.processes

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        if self.short is None:
            return max(1, math.ceil(self.epochs * self.samples / self.per_step))
        return max(1, math.ceil(round(self.epochs * FAR / self.epochs_at(FAR), 6)))  # the division's error is no step

    def epochs_at(self, step: int) -> float:
        """How many times the speech has been seen after so many steps."""
        short = 0 if self.short is None else self.short.before(step)
        passes = (step - short) * self.per_step / self.samples
        return passes if self.short is None else passes + short / self.short.count

    def is_short(self, step: int) -> bool:
        """Whether a step is on short windows."""
        return self.short is not None and self.short.is_short(step)

    def weight(self, step: int) -> float:
        """How much the mean of a step's loss counts beside that of other steps."""
        return 1.0 if self.short is None or not self.is_short(step) else self.short.weight(self.short.before(step))

    def micro_batches(self, first_step: int, process: int) -> Iterator[list[Draw]]:
        """One process's micro-batches, from `first_step` to the end."""
        for step in range(first_step, self.steps):
            for micro in range(self.accumulation):
                yield self._micro_batch(step, process * self.accumulation + micro)

    def _micro_batch(self, step: int, number: int) -> list[Draw]:
        """The micro-batch `number` of a step, counted over all processes."""
        if self.short is not None and self.is_short(step):
            draws, parts = self.short.draws(self.short.before(step)), self.accumulation * self.processes
            draws *= math.ceil(parts / len(draws))  # of a tiny corpus: none is empty
            return draws[number::parts]
        full = step if self.short is None else step - self.short.before(step)
        begin = full * self.per_step + number * self.batch_size
        return [Draw(self.sample(at), self.position_seed(at)) for at in range(begin, begin + self.batch_size)]

    def sample(self, position: int) -> int:
        """Which sample stands at a position of the stream."""
        epoch, place = divmod(position, self.samples)
        return self._order(epoch)[place]

    def _order(self, epoch: int) -> list[int]:
        cached = self.__dict__.get("_cached")
        if cached is None or cached[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            cached = (epoch, torch.randperm(self.samples, generator=generator).tolist())
            self.__dict__["_cached"] = cached
        return cached[1]

    def position_seed(self, position: int) -> int:
        """Seeds whatever is random about the sample at a position."""
        return (self.seed * 1_000_003 + position * 7919) % 2**63


class Stream(Dataset):
    """Draws -> what `load` makes of them."""

    def __init__(self, load: Callable[[Draw], Any]):
        self.load = load

    def __getitem__(self, draw: Draw) -> Any:
        return self.load(draw)


def deciding_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The resolved settings of a stage that decide its outcome.

    Left out: what is saved when, what is kept on disk, and into how many micro-batches a process's share of a step is
    cut. So a run that found too little memory or disk can go on with less.
    """
    rest = {name: value for name, value in settings.items() if name not in LEFT_OUT}
    return rest | {"windows_per_process": settings["batch_size"] * settings["accumulation"]}


def learning_rate_at(settings: Optimization, step: int, steps: int) -> float:
    """Factor on the learning rate, 0 to 1, at a step (from 0) of `steps`."""
    warmup = math.ceil(settings.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    match settings.schedule:
        case "linear":
            return 1.0 - done
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        case _:
            return 1.0
