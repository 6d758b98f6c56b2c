"""How many tokens to draft a round: the cost model.

With c the draft's time for one token and v(g) the main's for g + 1 tokens, both over the main's for one, and a the
chance that the main agrees with a drafted token given that it agreed with those before, a round of g drafts wins

    tau(g) = 1 + a + ... + a^g = (1 - a^(g+1)) / (1 - a)

tokens in g c + v(g) main steps, so the speedup is tau(g) / (g c + v(g)) (2211.17192, Theorem 3.8, for v = 1). c and v
are measured on this machine at this batch size; a is the running estimate of the call. For trees of drafts see
rank_shares.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from .tree import DraftTree

LONGEST = 16  # drafts a round that "auto" considers
MEASURED = (0, 1, 2, 4, 8, LONGEST)  # draft lengths that are timed; between them a straight line

Lengths = dict[int, float]  # draft length -> seconds of a whole round, the host's work included


@dataclass(frozen=True)
class Times:
    """Seconds of whole rounds at one batch size, the host's work included."""

    chains: Lengths
    trees: dict[DraftTree, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Costs:
    """Measured seconds at one batch size; on the CPU of the thread that decodes, so that other work does not count."""

    batch_size: int
    draft: float  # one draft step: one token a row
    verify: dict[int, float]  # draft length -> one forward of the main over that many tokens and one more
    rounds: Lengths  # draft length -> a whole round
    widths: Lengths = field(default_factory=dict)  # tokens a row in one draft pass -> seconds, for trees
    trees: dict[str, float] = field(default_factory=dict)  # DraftTree.text -> a whole round over it

    @classmethod
    def of_json(cls, costs: Mapping[str, Any]) -> "Costs":
        """From what `asdict` and JSON made of it, whose keys are text."""

        def by_count(name: str) -> dict[int, float]:
            return {int(count): float(seconds) for count, seconds in costs.get(name, {}).items()}

        size, draft = int(costs["batch_size"]), float(costs["draft"])
        trees = {text: float(seconds) for text, seconds in costs.get("trees", {}).items()}
        return cls(size, draft, by_count("verify"), by_count("rounds"), by_count("widths"), trees)

    @classmethod
    def least(cls, several: Sequence["Costs"]) -> "Costs":
        """Of several measurements of the same: what disturbs a clock only ever adds."""

        def lowest(name: str) -> dict[Any, float]:
            found: list[dict[Any, float]] = [vars(costs)[name] for costs in several]
            return {key: min(each[key] for each in found) for key in found[0]}

        draft = min(costs.draft for costs in several)
        rounds, trees = lowest("rounds"), lowest("trees")
        return cls(several[0].batch_size, draft, lowest("verify"), rounds, lowest("widths"), trees)

    @property
    def times(self) -> Times:
        """Of whole rounds: what "auto" uses."""
        return Times(self.rounds, {DraftTree.of_text(text): seconds for text, seconds in self.trees.items()})

    @property
    def cost_ratio(self) -> float:
        """c"""
        return self.draft / self.verify[0]

    def verification(self, draft_tokens: int) -> float:
        """v"""
        return between(self.verify, draft_tokens) / self.verify[0]

    def round(self, draft_tokens: int) -> float:
        """A round's time over a plain step's: g c + v, as it was measured in one piece."""
        return between(self.rounds, draft_tokens) / self.rounds[0]

    def tree(self, tree: DraftTree) -> float:
        """The same for any tree, from its pieces: a draft pass a level, by the level's width, and the verification."""
        fed = [1, *(level.fed for level in tree.levels[:-1])] if tree else []
        widths = {1: self.draft} | self.widths
        drafting = sum(max(self.draft, between(widths, width)) if len(widths) > 1 else self.draft for width in fed)
        return (drafting + between(self.verify, len(tree))) / self.verify[0]


def bounded(times: Lengths) -> Lengths:
    """More drafts never cost less, so a time above that of a longer round was disturbed: the longer one's bounds it."""
    return {count: min(times[more] for more in times if more >= count) for count in times}


def relative(times: Lengths, longest: int = LONGEST) -> list[float]:
    """A round's time over a plain step's for 0 to `longest` drafts, to choose by."""
    least = bounded(times)
    return [between(least, count) / least[0] for count in range(longest + 1)]


def between(known: dict[int, float], at: int) -> float:
    """The value at `at` on the straight line between the nearest known ones; past the last, on the line through it."""
    if at in known:
        return known[at]
    upper = min((key for key in known if key > at), default=max(known))
    lower = max(key for key in known if key < min(at, upper))
    return known[lower] + (at - lower) / (upper - lower) * (known[upper] - known[lower])


def blend(one: Costs, other: Costs, batch_size: int) -> Costs:
    """The costs at a batch size between two measured ones."""

    def mix(small: float, large: float) -> float:
        return between({one.batch_size: small, other.batch_size: large}, batch_size)

    return Costs(
        batch_size=batch_size,
        draft=mix(one.draft, other.draft),
        verify={count: mix(one.verify[count], other.verify[count]) for count in one.verify},
        rounds={count: mix(one.rounds[count], other.rounds[count]) for count in one.rounds},
        widths={width: mix(one.widths[width], other.widths[width]) for width in one.widths},
        trees={tree: mix(one.trees[tree], other.trees[tree]) for tree in one.trees},
    )


def expected_length(agreement: float, draft_tokens: int) -> float:
    """tau: tokens won a round."""
    if agreement >= 1:
        return draft_tokens + 1.0
    return (1 - agreement ** (draft_tokens + 1)) / (1 - agreement)


def expected_lengths(agreement: float, goes_on: Sequence[float]) -> list[float]:
    """The same of 0, 1, 2, ... drafts, where a text goes on for more than k tokens with the chance goes_on[k]."""
    return list(accumulate(agreement**k * chance for k, chance in enumerate(goes_on)))


def predicted_speedup(tau: float, draft_tokens: int, cost_ratio: float, verification: float) -> float:
    """tau / (g c + v)"""
    return tau / (draft_tokens * cost_ratio + verification)


def best_draft_tokens(
    agreement: float,
    taken: Sequence[float],
    choices: Sequence[int] = range(LONGEST + 1),
    goes_on: Sequence[float] | None = None,  # see `expected_lengths`; None: no text ends
) -> int:
    """The draft length of the greatest predicted speedup, of those whose `relative` time is known; 0 where drafting
    would lose."""
    won = expected_lengths(agreement, [1.0] * len(taken) if goes_on is None else goes_on)
    known = (count for count in choices if count < len(taken))
    return max(known, key=lambda count: (won[count] / taken[count], -count))
