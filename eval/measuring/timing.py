"""Times contenders against each other: warmed up, interleaved, synchronised; medians with their spread.

Work comes in chunks (a batch of clips that arrive together). Contenders take turns at every chunk, each pass in another
order, so that a disturbance of the machine affects them alike. The warm-up pass is never on the clock; its
results are kept, to check that contenders did the same work.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from whisper_pair.report import SpeedVerdict
from whisper_pair.runs import clocked

Answer = TypeVar("Answer")

RESAMPLES = 2000
ENOUGH = 5  # side-by-side timings below which nothing is called a gain
STEADY = 1.5  # a first pass that took so many times the others' median was still warming up


@dataclass(frozen=True)
class Timing:
    """One contender's times."""

    cells: np.ndarray  # [chunks, repeats] seconds; the same cell of every contender was timed side by side
    joules: float | None = None  # a pass

    @property
    def chunks(self) -> np.ndarray:
        """Median seconds of each chunk: [chunks]."""
        return np.median(self.cells, axis=1)

    @property
    def seconds(self) -> float:
        """Of a whole pass."""
        return float(self.chunks.sum())

    @property
    def passes(self) -> np.ndarray:
        """Seconds of each pass: [repeats]."""
        return self.cells.sum(axis=0)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Of a whole pass: each chunk's quartiles, added up. The figure itself is always between them."""
        low, high = np.quantile(self.cells, [0.25, 0.75], axis=1).sum(axis=1)
        return float(low), float(high)

    @property
    def steady(self) -> bool:
        """Was the first pass like the others? If not, warm-up was on the clock."""
        first, *others = self.passes
        return not others or bool(first <= STEADY * statistics.median(others))


def interleaved(
    actions: Sequence[Callable[[int], Answer]],
    chunks: int,
    repeats: int,
    device: torch.device,
    joules: Callable[[], float] | None = None,
) -> tuple[list[Timing], list[list[Answer]]]:
    """Each action takes the chunk's number. Returns the timings, and the actions' results from the warm-up."""
    answers = [[action(chunk) for chunk in range(chunks)] for action in actions]
    cells = np.zeros((len(actions), chunks, repeats))
    spent = np.zeros(len(actions))
    for repeat in range(repeats):
        for chunk in range(chunks):
            for turn in range(len(actions)):
                which = (turn + repeat + chunk) % len(actions)
                before = joules() if joules else 0.0
                cells[which, chunk, repeat] = clocked(partial(actions[which], chunk), device)
                spent[which] += joules() - before if joules else 0.0
    energy = [float(total) / repeats if joules else None for total in spent]
    return [Timing(*pair) for pair in zip(cells, energy, strict=True)], answers


@dataclass(frozen=True)
class Gain:
    """A speedup."""

    ratio: float
    interval: tuple[float, float]  # 95 %
    verdict: SpeedVerdict  # never a gain where the interval includes 1


def speedup(baseline: Timing, contender: Timing, seed: int = 0) -> Gain:
    """The baseline's seconds over the contender's, with a bootstrap interval.

    Each draw takes passes and chunks, with replacement and the same for both, and makes of them what the figure is
    made of: the median of each chunk's passes, summed over the chunks. A whole pass is drawn at once, since a
    disturbance lasts longer than a chunk. With few passes the draws are skewed, so the interval is widened, where
    needed, to include the figure itself.
    """
    ratio = baseline.seconds / contender.seconds
    if baseline is contender:
        return Gain(1.0, (1.0, 1.0), "unclear")
    chunks, repeats = baseline.cells.shape
    rng = np.random.default_rng(seed)
    passes = rng.integers(repeats, size=(RESAMPLES, repeats))
    rows = rng.integers(chunks, size=(RESAMPLES, chunks))

    def seconds(timing: Timing) -> np.ndarray:
        medians = np.median(timing.cells[:, passes], axis=2)  # [chunks, RESAMPLES]
        return np.take_along_axis(medians.T, rows, axis=1).sum(1)

    low, high = np.quantile(seconds(baseline) / seconds(contender), [0.025, 0.975])
    low, high = min(float(low), ratio), max(float(high), ratio)
    sure = baseline.cells.size >= ENOUGH and baseline.steady and contender.steady
    verdict: SpeedVerdict = "faster" if low > 1 else "slower" if high < 1 else "unclear"
    return Gain(ratio, (low, high), verdict if sure else "unclear")
