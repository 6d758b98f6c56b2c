"""Drafts are chosen on one half of the speech and scored on the other, by costs as they were measured."""

import pytest

from benchmarks.crossed import best_chain, best_of, crossed, h100_costs, largest, won
from whisper_pair.decoding import DraftTree, TokenRanks

EASY = TokenRanks((0,) * 12, (50,) * 11 + (0,), True, 444)
SECOND = TokenRanks((1,) * 12, (50,) * 11 + (1,), True, 444)  # the draft's second choice is always right


def test_each_half_is_scored_with_what_the_other_would_choose():
    costs = h100_costs()
    found = crossed([EASY, EASY, SECOND, SECOND], best_of(costs, 8), costs)
    assert found.tau == 1.0  # what is best for the one half wins nothing on the other
    assert crossed([EASY] * 4, best_of(costs, 8), costs).tau > 4


def test_a_round_costs_what_was_measured():
    costs = h100_costs()
    assert costs.tree(DraftTree.chain(4)) == pytest.approx(costs.round(4), rel=0.05)
    found = won([EASY], DraftTree.chain(3), costs)
    assert (found.tokens, found.rounds) == (12, 3)
    assert found.speedup == pytest.approx(4 / costs.tree(DraftTree.chain(3)))
    assert best_chain(costs)([SECOND]) == DraftTree.chain(1)
    assert len(largest(4, 2)([SECOND])) == 2  # no more paths are ever followed
