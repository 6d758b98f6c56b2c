"""What trees of drafts win on the test clips: an exact replay, of trees that were chosen on other speech."""

from collections.abc import Sequence

from whisper_pair.decoding import Costs, DraftTree, TokenRanks, accepted_per_tree, pooled
from whisper_pair.report import TreeRow

from .bootstrap import ratio_intervals


def tree_rows(found: Sequence[TokenRanks], trees: Sequence[DraftTree], costs: Costs) -> list[TreeRow]:
    """One a tree."""
    return [_row(tree, [accepted_per_tree(ranks, tree) for ranks in found], costs) for tree in trees]


def _row(tree: DraftTree, rounds: list[list[tuple[int, int]]], costs: Costs) -> TreeRow:
    """`rounds`: each utterance's (drafted, accepted)."""
    counted = pooled([pair for utterance in rounds for pair in utterance], tree.depth)
    counts = [len(utterance) for utterance in rounds]
    won = [sum(1 + accepted for _, accepted in utterance) for utterance in rounds]
    measured = tree.text in costs.trees
    time = costs.trees[tree.text] / costs.rounds[0] if measured else costs.tree(tree)
    return {
        "paths": tree.text.split(),
        "nodes": len(tree),
        "depth": tree.depth,
        "rounds": counted.rounds,
        "mean_accepted_length": counted.mean_accepted_length,
        "mean_accepted_length_interval": ratio_intervals([won], [counts])[0],
        "position_joint": list(counted.position_joint),
        "predicted_speedup": counted.mean_accepted_length / time,
    }
