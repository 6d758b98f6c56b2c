"""Times contenders against each other: warmed up, interleaved, synchronised; medians with their spread."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    seconds: tuple[float, ...]  # one a repeat, in order: repeat i of every contender ran side by side

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def interleaved(actions: Sequence[Callable[[], object]], repeats: int, device: torch.device) -> list[Timing]:
    """Runs every action once unmeasured, then all of them in turn `repeats` times."""
    for action in actions:
        action()
    found: list[list[float]] = [[] for _ in actions]
    for _ in range(repeats):
        for action, seconds in zip(actions, found, strict=True):
            _synchronize(device)
            start = time.perf_counter()
            action()
            _synchronize(device)
            seconds.append(time.perf_counter() - start)
    return [Timing(tuple(seconds)) for seconds in found]


def speedup(baseline: Timing, contender: Timing) -> tuple[float, tuple[float, float]]:
    """Ratio of the medians, and the least and greatest ratio of two repeats that ran side by side."""
    ratios = [a / b for a, b in zip(baseline.seconds, contender.seconds, strict=True)]
    return baseline.median / contender.median, (min(ratios), max(ratios))


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
