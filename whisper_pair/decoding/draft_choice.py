"""Which drafts each round of a call proposes: given, or by the cost model and what was accepted so far.

"auto" weighs drafting nothing, chains and a few trees. What a round of each costs here is measured (round_times.py),
what it wins follows from the running rank shares (rank_shares.py), and the greatest quotient is chosen.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Literal, NamedTuple

from .continuation import Continuation
from .draft_length import LONGEST, best_draft_tokens
from .rank_shares import RankShares, expected_tokens
from .tree import DraftTree

UNMEASURED = 4  # tokens that all rows of a round draft together while its costs are unknown: rows make it expensive
MARGIN = 1.02  # by how much a tree must promise more than the best chain, whose promise is the surer


class Relative(NamedTuple):
    """A round's time over a plain step's, at one batch size."""

    chains: Sequence[float]  # by the number of drafts, from 0 up to the longest that was measured
    trees: dict[DraftTree, float]


class DraftChoice:
    """The drafts of each round of one call.

    The estimates live as long as the call: how a call decodes does not depend on the calls before it.
    """

    def __init__(
        self,
        draft_tokens: int | DraftTree | Literal["auto"],
        taken: Callable[[int], Relative | None],  # at a batch size; None: not known yet
        lengths: Sequence[int] = range(LONGEST + 1),  # of chains, for "auto"
        chains_only: bool = False,
        untried: Callable[[int], DraftTree | None] | None = None,  # drafts that a round should try, to learn their time
    ):
        self.untried = untried
        self.fixed = None if draft_tokens == "auto" else as_tree(draft_tokens, chains_only)
        self.taken, self.lengths, self.chains_only = taken, lengths, chains_only
        self.ranks, self.continuation = RankShares(), Continuation()

    def choose(self, decoded: Sequence[int]) -> DraftTree:
        """What all rows of a batch draft in the next round, by how many tokens each has decoded."""
        if self.fixed is not None:
            return self.fixed
        batch = len(decoded)
        untried = None if self.untried is None else self.untried(batch)
        taken = self.taken(batch)
        if taken is None:
            return DraftTree.chain(UNMEASURED // batch) if untried is None else untried
        deepest = max([LONGEST, *(tree.depth for tree in (*taken.trees, untried) if tree is not None)])
        shares, goes_on = self.ranks.shares, self.continuation.chances(decoded, deepest)
        best = best_drafts(shares, taken, self.lengths, self.chains_only, goes_on)
        if untried is None:
            return best
        once = untried in taken.trees or (untried.is_chain and len(untried) < len(taken.chains))  # it was measured
        better = promise(untried, shares, taken, goes_on) > promise(best, shares, taken, goes_on)
        return untried if once or better else best

    def speedup(self, taken: Relative) -> float:
        """What the best drafts promise, over plain decoding, as long as the text goes on."""
        shares = self.ranks.shares
        return promise(best_drafts(shares, taken, self.lengths, self.chains_only), shares, taken)

    def ends(self, decoded: Sequence[int], tree: DraftTree) -> float:
        """The chance that a row's text ends in a round over these drafts, by how many tokens each row has decoded."""
        tokens = ceil(expected_tokens(tree, self.ranks.shares))
        return 1 - self.continuation.chances(decoded, tokens)[tokens]

    def observe(self, tree: DraftTree, path: Sequence[int], drafted: int, won: int, decoded: int, ended: bool) -> None:
        """Count one row's round: the nodes accepted, how many drafts counted, the tokens won, how many the text now
        has, and whether it ended with them."""
        self.ranks.observe(tree, path, drafted, ended)
        self.continuation.observe(won, decoded, ended)


def as_tree(drafts: int | DraftTree, chains_only: bool = False) -> DraftTree:
    """A number of drafts as a chain; a tree as the chain of its depth where only chains are possible."""
    if isinstance(drafts, DraftTree):
        return DraftTree.chain(drafts.depth) if chains_only else drafts
    return DraftTree.chain(drafts)


def promise(
    drafts: DraftTree, shares: Sequence[float], taken: Relative, goes_on: Sequence[float] | None = None
) -> float:
    """The predicted speedup; of drafts whose rounds are not measured yet, if they took no longer than a shorter
    chain's."""
    time = taken.chains[min(drafts.depth, len(taken.chains) - 1)]
    return expected_tokens(drafts, shares, goes_on) / taken.trees.get(drafts, time)


def best_drafts(
    shares: Sequence[float],  # of the draft's choices, by rank
    taken: Relative,
    lengths: Sequence[int] = range(LONGEST + 1),
    chains_only: bool = False,
    goes_on: Sequence[float] | None = None,  # chances that the text goes on for more than 0, 1, ... tokens; None: ever
) -> DraftTree:
    """The drafts of the greatest predicted speedup; none where drafting would lose."""
    best = DraftTree.chain(best_draft_tokens(shares[0], taken.chains, lengths, goes_on))
    speedup = MARGIN * promise(best, shares, taken, goes_on)
    for tree, time in () if chains_only else taken.trees.items():
        if (found := expected_tokens(tree, shares, goes_on) / time) > speedup:
            best, speedup = tree, found
    return best
