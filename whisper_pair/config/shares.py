"""Splits that are shares of a corpus: `split: 0.05` in validation and in test, and the rest in training.

A config that was read says it in bounds, as in "5%:10%", so that each source stands for itself; these may be written
too. The division itself is whisper_pair/data/parts.py.
"""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .schema import Data, Source

BOUNDS = re.compile(r"(\d+(?:\.\d+)?)%:(\d+(?:\.\d+)?)%")
SPLITS = ("validation", "test", "train")  # the order in which they take their shares


def share_of(split: str | float) -> tuple[float, float] | None:
    """The bounds of a share, from 0 to 1; None for the name of a split."""
    if isinstance(split, float):
        return 0.0, split
    found = BOUNDS.fullmatch(split)
    return (float(found[1]) / 100, float(found[2]) / 100) if found else None


def with_bounds(data: "Data") -> "Data":
    """The same sources, each share of a corpus with its bounds; the training source without one gets the rest.

    Raises InputError where the shares of a corpus leave nothing to train on.
    """
    taken: dict[str, float] = {}
    bounded: dict[str, list[Source]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        for source in getattr(data, split):
            low = taken.get(_place(source), 0.0)
            if isinstance(source.split, float):
                high = low + source.split
                taken[_place(source)] = high
                source = replace(source, split=_written(low, high))
                if high > 1 + 1e-9:
                    raise InputError(f"data.{split}: the shares of {source.name} add up to more than 1.")
            bounded[split].append(source)
    train = [_rest(source, taken) for source in bounded["train"]]
    return replace(data, train=tuple(train), validation=tuple(bounded["validation"]), test=tuple(bounded["test"]))


def _rest(source: "Source", taken: dict[str, float]) -> "Source":
    """A training source without what the others take."""
    low = taken.get(_place(source), 0.0)
    if not low or source.split != "train":
        return source
    if low >= 1:
        raise InputError(f"data.train: the shares of {source.name} in validation and test leave nothing to train on.")
    return replace(source, split=_written(low, 1.0))


def _place(source: "Source") -> str:
    return f"{source.kind} {source.path} {source.config}"


def _written(low: float, high: float) -> str:
    return f"{100 * low:.6g}%:{100 * high:.6g}%"
