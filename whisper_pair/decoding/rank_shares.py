"""How often the main's token is the draft's first, second, third ... choice: running estimates of a call.

For a tree of drafts, the chance that a node is accepted is the product of its path's rank shares, if ranks at
neighbouring positions are independent; the tokens that a round wins are those chances' sum, and the main's own token.
Of a chain this is the usual 1 + a + a^2 + ... with a the share of the first rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .tree import MOST_RANKS, DraftTree, Path

FADING = 0.99  # of what was seen, for each plain step of a row
# Of the tokens that no earlier choice is, the shares that the second, third and fourth is (the last serves later ones):
# measured with whisper-tiny and a 2-layer assistant for whisper-base on Dutch.
LATER = (0.28, 0.17, 0.12)


@dataclass
class Share:
    """The running estimate of a chance: successes over trials.

    Starts at `prior` with the weight of `weight` trials. While nothing is drafted nothing is learned and what was seen
    fades, so that drafting is tried again.
    """

    prior: float = 0.9  # hopeful, so that drafting is tried wherever a good draft would pay
    weight: float = 6.0
    agreed: float = field(default=0.0, init=False)
    refused: float = field(default=0.0, init=False)

    def observe(self, drafted: int, accepted: int) -> None:
        """Count one row's chain: tokens drafted, and accepted of them. Its trials end with the first refusal."""
        if drafted == 0:
            self.agreed *= FADING
            self.refused *= FADING
        self.agreed += accepted
        self.refused += accepted < drafted

    @property
    def value(self) -> float:
        """a"""
        return (self.prior * self.weight + self.agreed) / (self.weight + self.agreed + self.refused)


class RankShares:
    """The estimates of one call."""

    def __init__(self) -> None:
        self.first = Share()
        priors = LATER + LATER[-1:] * (MOST_RANKS - 1 - len(LATER))
        self.later = [Share(prior) for prior in priors]  # given that no earlier choice was the main's

    def observe(self, tree: DraftTree, path: Sequence[int], drafted: int, ended: bool) -> None:
        """Count one row's round: the accepted path's nodes, and how many drafts counted. `ended`: the text ended, or
        reached its limit, so that nothing was refused last."""
        if tree.is_chain:
            self.first.observe(drafted, len(path))
            return
        for node in path:
            self._count(tree.ranks[node], found=True)
        last = path[-1] if path else -1
        refused = [tree.ranks[node] for node, parent in enumerate(tree.parents) if parent == last]
        if refused and not ended:
            self._count(max(refused), found=False)

    def learn(self, ranks: Sequence[int]) -> None:
        """Count a text that was decoded without drafts: the ranks of its tokens."""
        for rank in ranks:
            self._count(min(rank, MOST_RANKS - 1), found=rank < MOST_RANKS)

    def _count(self, rank: int, found: bool) -> None:
        """The main's token was the draft's choice of this rank, or none up to it."""
        for index, share in enumerate([self.first, *self.later[:rank]]):
            share.agreed += found and index == rank
            share.refused += not (found and index == rank)

    @property
    def shares(self) -> list[float]:
        """[ranks]"""
        found, left = [self.first.value], 1 - self.first.value
        for share in self.later:
            found.append(left * share.value)
            left -= found[-1]
        return found


def expected_tokens(tree: DraftTree, shares: Sequence[float], goes_on: Sequence[float] | None = None) -> float:
    """tau: tokens won a round. `goes_on`: see draft_length.py's `expected_lengths`."""
    chances: list[float] = []
    for rank, parent in zip(tree.ranks, tree.parents, strict=True):
        chances.append(shares[rank] * (chances[parent] if parent >= 0 else 1.0))
    if goes_on is None:
        return 1 + sum(chances)
    return goes_on[0] + sum(chance * goes_on[depth] for chance, depth in zip(chances, tree.depths, strict=True))


def likeliest_tree(shares: Sequence[float], nodes: int, depth: int) -> DraftTree:
    """The tree of so many nodes, at most so deep, that wins the most tokens a round by these rank shares."""
    known: dict[Path, float] = {}
    frontier: dict[Path, float] = {(rank,): share for rank, share in enumerate(shares)}
    while len(known) < nodes and frontier:
        path = max(frontier, key=lambda path: (frontier[path], tuple(-rank for rank in path)))
        known[path] = frontier.pop(path)
        if len(path) < depth:
            frontier |= {(*path, rank): known[path] * share for rank, share in enumerate(shares)}
    return DraftTree.of(known)


# For pairs whose own ranks nobody has counted: few, of growing size. By the shares above at an agreement of 0.58.
TREES = tuple(likeliest_tree((0.58, 0.12, 0.05, 0.03), nodes, depth) for nodes, depth in ((4, 2), (8, 3), (16, 3)))
