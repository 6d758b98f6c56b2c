"""Confidence intervals by resampling utterances (Efron 1979), for ratios of pooled sums.

Utterances are drawn with replacement, all of an utterance's counts together, and each draw's ratio is a ratio of sums,
as the figure itself is. One seed gives the same draws everywhere, so differences between two figures over the same
utterances are paired: what is hard for both does not blur their difference.
"""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
AT_ONCE = 100  # draws held together


def resampled_sums(counts: np.ndarray, seed: int = 0) -> np.ndarray:
    """[utterances, figures] -> [RESAMPLES, figures], the sums of each draw."""
    rng = np.random.default_rng(seed)
    utterances = len(counts)
    even = np.full(utterances, 1 / utterances)
    parts = [rng.multinomial(utterances, even, size=AT_ONCE) @ counts for _ in range(RESAMPLES // AT_ONCE)]
    return np.concatenate(parts)


def interval(values: np.ndarray) -> list[float] | None:
    """The middle LEVEL of the draws; None where no draw has a value."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def ratio_intervals(parts: Sequence[Sequence[float]], wholes: Sequence[Sequence[float]]) -> list[list[float] | None]:
    """Intervals of several ratios over the same utterances: parts and wholes [figures][utterances].

    None where only one utterance counts: there is nothing to draw from.
    """
    sums = resampled_sums(np.array([*parts, *wholes], dtype=float).T)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = sums[:, : len(parts)] / sums[:, len(parts) :]
    enough = [sum(count > 0 for count in whole) > 1 for whole in wholes]
    return [interval(column) if several else None for column, several in zip(ratios.T, enough, strict=True)]


def difference_interval(
    one: tuple[Sequence[float], Sequence[float]], other: tuple[Sequence[float], Sequence[float]]
) -> list[float] | None:
    """Of other's ratio minus one's, each given as (parts, wholes) over the same utterances."""
    if sum(count > 0 for count in one[1]) < 2:
        return None
    sums = resampled_sums(np.array([*one, *other], dtype=float).T)
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval(sums[:, 2] / sums[:, 3] - sums[:, 0] / sums[:, 1])
