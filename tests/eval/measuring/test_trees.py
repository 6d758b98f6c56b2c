"""What trees of drafts give on the test clips."""

import pytest

from eval.measuring.trees import tree_rows
from whisper_pair.decoding.acceptance import TokenRanks
from whisper_pair.decoding.draft_length import Costs
from whisper_pair.decoding.tree import DraftTree


def test_trees_are_rated_by_what_they_win_on_the_test_clips_and_what_they_cost_here():
    found = [TokenRanks((0, 1, 0, 2), (9,) * 4, False, 4), TokenRanks((1, 0, 5), (9,) * 3, False, 3)]
    tree, other = DraftTree.of([(0,), (1,), (0, 1), (1, 0)]), DraftTree.of([(0,), (1,)])
    costs = Costs(1, 0.1, {0: 1.0, 4: 1.4}, {0: 2.0, 1: 2.2}, {2: 0.2}, {tree.text: 3.0})
    rated, cheap = tree_rows(found, [tree, other], costs)
    assert (rated["nodes"], rated["depth"], rated["paths"]) == (4, 2, tree.text.split())
    assert rated["rounds"] == 3  # 0 1 and the main's 0; 2 is no choice of the tree; 1 0 and the main's own
    assert rated["mean_accepted_length"] == 1 + 4 / 3
    assert rated["position_joint"] == [2 / 3, 2 / 3]
    assert rated["predicted_speedup"] == pytest.approx((1 + 4 / 3) / 1.5)  # its round was measured
    assert cheap["predicted_speedup"] == pytest.approx(cheap["mean_accepted_length"] / (0.1 + 1.2))  # from its pieces
