"""Intervals by resampling utterances."""

import numpy as np

from eval.measuring.bootstrap import difference_interval, ratio_intervals


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        wholes = rng.integers(5, 30, 60)
        (low, high), *_ = ratio_intervals([rng.binomial(wholes, 0.3)], [wholes])
        covered += low <= 0.3 <= high
    assert 88 <= covered <= 100


def test_a_paired_difference_is_sharper_than_its_two_figures():
    rng = np.random.default_rng(2)
    wholes = rng.integers(5, 30, 80)
    hard = rng.binomial(wholes, rng.beta(1, 1, 80))  # some utterances are hard for everyone
    worse = np.minimum(hard + (rng.random(80) < 0.5), wholes)
    (low, high), *_ = ratio_intervals([hard], [wholes])
    below, above = difference_interval((hard, wholes), (worse, wholes))
    assert 0 < below < above
    assert above - below < (high - low) / 3


def test_an_interval_of_nothing_or_of_one_utterance_is_none():
    assert ratio_intervals([[0, 0]], [[0, 0]]) == [None]
    assert ratio_intervals([[3, 0]], [[5, 0]]) == [None]
    assert difference_interval(([3, 0], [5, 0]), ([2, 0], [5, 0])) is None
