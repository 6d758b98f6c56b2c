"""Drafts chosen on one half of the speech and scored on the other, by exact replay: no shape is scored on the speech
that it was chosen on.

Costs are an H100's (results/decoding-h100.json), where verification is nearly free. The halves are the first and the
second one, which are of other recordings, not every other clip.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.results import RESULTS
from whisper_pair.decoding import Costs, DraftTree, TokenRanks, best_tree, grown_trees, rate, tree_acceptance

LONGEST_CHAIN = 16
SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32)

Choose = Callable[[Sequence[TokenRanks]], DraftTree]


@dataclass(frozen=True)
class Won:
    """Rounds pooled over utterances."""

    tokens: int  # the main's own included
    rounds: int
    time: float  # of all rounds, in plain steps of the main

    @property
    def tau(self) -> float:
        """Tokens a round."""
        return self.tokens / self.rounds

    @property
    def speedup(self) -> float:
        """Of decoding over one token a step."""
        return self.tokens / self.time


def h100_costs(batch_size: int = 1) -> Costs:
    """Measured with large-v3's shape and two of its layers as the assistant."""
    result = json.loads((RESULTS / "decoding-h100.json").read_text(encoding="utf-8"))
    row = next(row for row in result["rows"] if row.get("measure") == "decode step" and row["batch_size"] == batch_size)
    step = row["seconds"]

    def seconds(name: str) -> dict[int, float]:
        return {int(count): step * over for count, over in row[name].items()}

    return Costs(batch_size, step * row["cost_ratio"], seconds("verification"), seconds("round"))


def won(found: Sequence[TokenRanks], tree: DraftTree, costs: Costs) -> Won:
    """Of one tree or chain."""
    counted = tree_acceptance(found, tree)
    return Won(counted.rounds + counted.accepted, counted.rounds, counted.rounds * costs.tree(tree))


def crossed(found: Sequence[TokenRanks], choose: Choose, costs: Costs) -> Won:
    """Each half with the drafts that were chosen on the other."""
    middle = len(found) // 2
    halves = found[:middle], found[middle:]
    first, second = (won(half, choose(other), costs) for half, other in (halves, halves[::-1]))
    return Won(first.tokens + second.tokens, first.rounds + second.rounds, first.time + second.time)


def best_chain(costs: Costs) -> Choose:
    """Chooses the length of the greatest predicted speedup."""
    chains = [DraftTree.chain(length) for length in range(1, LONGEST_CHAIN + 1)]
    return lambda found: max((rate(found, chain, costs.tree) for chain in chains), key=lambda each: each.speedup).tree


def best_of(costs: Costs, nodes: int) -> Choose:
    """Chooses the tree of at most so many nodes."""
    sizes = [size for size in SIZES if size <= nodes]
    return lambda found: best_tree(found, costs.tree, sizes).tree


def largest(nodes: int, depth: int) -> Choose:
    """The tree of so many nodes, at most so deep, whose paths are followed most often."""
    return lambda found: max(grown_trees(found, [nodes], depth).values(), key=len)
