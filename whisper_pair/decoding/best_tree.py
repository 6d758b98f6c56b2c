"""The best tree of drafts for given costs, by exact counting over held-out speech.

Every position of the held-out texts is a place where a round may start, and the ranks that follow it are the path that
a tree would need. Grown from the paths that are followed most often, the trees of one depth are nested: each node count
gives one. Each of these few is then replayed exactly (acceptance.py), and the one of the greatest predicted speedup is
taken. It must be scored on other speech than it was chosen on.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .acceptance import Acceptance, TokenRanks, tree_acceptance
from .tree import MOST_NODES, DraftTree, Path

SIZES = (2, 3, 4, 6, 8, 12, 16, 24, MOST_NODES)
OFFERED = (4, 8, 16, MOST_NODES)  # nodes at most
DEEPEST = 8
WIDEST = 4  # choices of the draft at one position


@dataclass(frozen=True)
class RatedTree:
    """A tree with what it won on the speech it was replayed on."""

    tree: DraftTree
    acceptance: Acceptance
    speedup: float  # predicted: tokens won a round over the round's time, in plain steps


def grown_trees(
    found: Iterable[TokenRanks], sizes: Sequence[int], depth: int, widest: int = WIDEST
) -> dict[int, DraftTree]:
    """For each number of nodes the paths, at most `depth` long, that are followed most often from any position; the
    largest has fewer where no more are ever followed."""
    followed: Counter[Path] = Counter()
    for each in found:
        for start in range(len(each.ranks)):
            path: Path = ()
            for rank in each.ranks[start : start + depth]:
                if rank >= widest:
                    break
                path = (*path, rank)
                followed[path] += 1
    trees: dict[int, DraftTree] = {}
    taken: list[Path] = []
    frontier: list[tuple[int, Path]] = []

    def reach(path: Path) -> None:
        for rank in range(widest):
            if times := followed[(*path, rank)]:
                heapq.heappush(frontier, (-times, (*path, rank)))

    reach(())
    while frontier and len(taken) < max(sizes):
        _, path = heapq.heappop(frontier)
        taken.append(path)
        if len(path) < depth:
            reach(path)
        if len(taken) in sizes or not frontier:
            trees[len(taken)] = DraftTree.of(taken)
    return trees


def best_tree(
    found: Sequence[TokenRanks],
    time: Callable[[DraftTree], float],
    sizes: Sequence[int] = SIZES,
    depths: Iterable[int] = range(1, DEEPEST + 1),
) -> RatedTree:
    """The tree of the greatest predicted speedup. `time`: a round's over a plain step's, `Costs.tree` for one."""
    trees = {tree for depth in depths for tree in grown_trees(found, sizes, depth).values()}
    rated = [rate(found, tree, time) for tree in trees]
    return max(rated, key=lambda each: (each.speedup, -len(each.tree), each.tree.text))


def gpu_time(tree: DraftTree) -> float:
    """A round's time over a plain step's as on an H100 at batch 1 with a 2-layer assistant for large-v3: a draft pass
    takes 0.115 of a step, verifying 2 to 17 tokens 1.22 (benchmarks/results/decoding-h100.json)."""
    return 1.21 + 0.001 * len(tree) + 0.115 * tree.depth


def trees_to_offer(found: Sequence[TokenRanks], time: Callable[[DraftTree], float]) -> list[DraftTree]:
    """The few trees that "auto" should measure for a pair, by its ranks on held-out speech: the best for the costs
    measured here, and the best of at most 4, 8, 16 and 32 nodes where drafting and verification cost as on a GPU."""
    offered = {best_tree(found, time).tree}
    for most in OFFERED:
        offered.add(best_tree(found, gpu_time, [size for size in SIZES if size <= most]).tree)
    return sorted((tree for tree in offered if not tree.is_chain), key=lambda tree: (len(tree), tree.text))


def rate(found: Sequence[TokenRanks], tree: DraftTree, time: Callable[[DraftTree], float]) -> RatedTree:
    """Replay a tree and predict its speedup."""
    acceptance = tree_acceptance(found, tree)
    return RatedTree(tree, acceptance, acceptance.mean_accepted_length / time(tree))
