"""Training steps on windows that are no longer than their speech.

A step's clips are of similar length (as in speech recognition's usual length buckets), and as many as cost the encoder
what a step of full windows costs. All its windows end at the same frame, so that no row is padded within a batch: a
margin, drawn for the step, after the end of its longest clip. Where each window has a length of its own, as in
distillation, a step's windows are those of one length.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..config import ShortWindows
from ..decoding import FRAMES_PER_SECOND

JITTER = 0.1  # clips are ordered by their length, up to this share of it: each epoch has other neighbours


class Draw(NamedTuple):
    """An example at its place in the training."""

    sample: int
    seed: int  # of whatever is random about it
    frames: int | None = None  # encoder frames of its window; None: the full window


@dataclass(frozen=True)
class ShortSteps:
    """The short steps of a training, counted from 0 without the full ones between them."""

    share: float  # of all steps
    margin: tuple[float, float]  # seconds
    frames: tuple[int, ...]  # of each clip's speech; at least one
    windows: int  # full windows in a full step: what a short one may cost
    full: int  # encoder frames of a full window
    first: int  # number of the first clip among all examples
    seed: int

    @classmethod
    def of(cls, settings: ShortWindows, seconds: Sequence[float], windows: int, full: int, first: int, seed: int):
        """`seconds`: of each clip."""
        frames = tuple(min(full, math.ceil(each * FRAMES_PER_SECOND)) for each in seconds)
        low, high = settings.margin
        return cls(settings.share, (low, high), frames, windows, full, first, seed)

    def before(self, step: int) -> int:
        """How many of the first `step` steps are short: spread evenly over the training."""
        return math.floor(step * self.share + 1e-9)

    def is_short(self, step: int) -> bool:
        """Whether a step is short."""
        return self.before(step + 1) > self.before(step)

    def weight(self, number: int) -> float:
        """All steps are about as large."""
        return 1.0

    @property
    def count(self) -> int:
        """Short steps in which every clip is seen once."""
        return len(self.groups)

    @cached_property
    def groups(self) -> list[range]:
        """Which places of the clips, ordered from the longest to the shortest, make up a step."""
        return self._filled(sorted(self.frames, reverse=True))

    def _filled(self, frames: list[int]) -> list[range]:
        reach, groups, stop = math.ceil(self.margin[1] * FRAMES_PER_SECOND), [], 0

        def most(longest: int) -> int:
            """Clips that a step takes."""
            return self.windows * self.full // min(self.full, longest + reach)

        while stop < len(frames):
            start, stop = stop, min(stop + most(frames[stop]), len(frames))
            while start > 0 and stop - start < most(frames[start - 1]):  # the last one: fill it from the one before
                start -= 1
            groups.append(range(start, stop))
        return groups

    def draws(self, number: int) -> list[Draw]:
        """The examples of a short step, by its number among the short ones; never none."""
        epoch, place = divmod(number, len(self.groups))
        order, groups = self._orders(epoch)
        clips = [order[i] for i in self.groups[groups[place]]]
        chance = random.Random(f"{self.seed} short {number}")
        margin = math.ceil(chance.uniform(*self.margin) * FRAMES_PER_SECOND)
        frames = min(self.full, max(self.frames[clip] for clip in clips) + margin)
        return [Draw(self.first + clip, chance.getrandbits(62), frames) for clip in clips]

    def _orders(self, epoch: int) -> tuple[list[int], list[int]]:
        """The clips of an epoch from the longest to the shortest, about, and the order of its groups."""
        cached = self.__dict__.get("_epoch")
        if cached is None or cached[0] != epoch:
            chance = random.Random(f"{self.seed} epoch {epoch}")
            keys = [frames * (1 + JITTER * (chance.random() - 0.5)) for frames in self.frames]
            clips = sorted(range(len(keys)), key=lambda clip: -keys[clip])
            groups = list(range(len(self.groups)))
            chance.shuffle(groups)
            cached = self.__dict__["_epoch"] = (epoch, clips, groups)
        return cached[1], cached[2]


@dataclass(frozen=True)
class EqualSteps:
    """Steps over windows that have a length each: all windows of a step are of one length."""

    frames: tuple[int, ...]  # encoder frames of each window; at least one window
    windows: int  # full windows in a step: what one of short windows may cost
    full: int  # encoder frames of a full window
    seed: int

    def before(self, step: int) -> int:
        """All steps are of this kind."""
        return step

    def is_short(self, step: int) -> bool:
        """So is each."""
        return True

    @cached_property
    def _alike(self) -> dict[int, list[int]]:
        """The windows of each length."""
        found: dict[int, list[int]] = {}
        for number, frames in enumerate(self.frames):
            found.setdefault(frames, []).append(number)
        return found

    def _size(self, frames: int) -> int:
        """Windows of a length that a step takes."""
        return self.windows * self.full // frames

    @cached_property
    def count(self) -> int:
        """Steps in which every window is seen once."""
        return sum(math.ceil(len(alike) / self._size(frames)) for frames, alike in self._alike.items())

    def draws(self, number: int) -> list[Draw]:
        """The examples of a step; never none."""
        epoch, place = divmod(number, self.count)
        chance = random.Random(f"{self.seed} equal {number}")
        windows = self._groups(epoch)[place]
        return [Draw(window, chance.getrandbits(62), self.frames[window]) for window in windows]

    def weight(self, number: int) -> float:
        """The share of a step that its windows fill: less than 1 where there are few of a length. Without it, these few
        would count as much as a whole step of others."""
        epoch, place = divmod(number, self.count)
        windows = self._groups(epoch)[place]
        return len(windows) / self._size(self.frames[windows[0]])

    def _groups(self, epoch: int) -> list[list[int]]:
        """The windows of each step of an epoch. The last step of a length is filled from the first ones of it."""
        cached = self.__dict__.get("_epoch")
        if cached is None or cached[0] != epoch:
            cached = self.__dict__["_epoch"] = (epoch, self._drawn(random.Random(f"{self.seed} epoch {epoch}")))
        found: list[list[int]] = cached[1]
        return found

    def _drawn(self, chance: random.Random) -> list[list[int]]:
        groups: list[list[int]] = []
        for frames, alike in self._alike.items():
            order, size = chance.sample(alike, len(alike)), self._size(frames)
            groups += [order[at : at + size] for at in range(0, len(order), size)]
            groups[-1] += order[: min(len(order), size) - len(groups[-1])]
        chance.shuffle(groups)
        return groups
