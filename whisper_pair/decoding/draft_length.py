"""How many tokens to draft a round: the cost model.

With c the draft's time for one token and v(g) the main's for g + 1 tokens, both over the main's for one, and a the
chance that the main agrees with a drafted token given that it agreed with those before, a round of g drafts wins

    tau(g) = 1 + a + ... + a^g = (1 - a^(g+1)) / (1 - a)

tokens in g c + v(g) main steps, so the speedup is tau(g) / (g c + v(g)) (2211.17192, Theorem 3.8, for v = 1). c and v
are measured on this machine at this batch size; a is the running estimate of the call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .acceptance import TokenMatches, accepted_per_round
from .continuation import Continuation

LONGEST = 16  # drafts a round that "auto" considers
MEASURED = (0, 1, 2, 4, 8, LONGEST)  # draft lengths that are timed; between them a straight line
FADING = 0.99  # of what was seen, for each plain step of a row
LEARNT = 4  # drafts a round of a window that is learnt from without having drafted
UNMEASURED = 4  # tokens that all rows of a round draft together while its costs are unknown: rows make it expensive

Times = dict[int, float]  # draft length -> seconds of a whole round, the host's work included


@dataclass(frozen=True)
class Costs:
    """Measured seconds at one batch size; on the CPU of the thread that decodes, so that other work does not count."""

    batch_size: int
    draft: float  # one draft step: one token a row
    verify: dict[int, float]  # draft length -> one forward of the main over that many tokens and one more
    rounds: Times

    @classmethod
    def of_json(cls, costs: Mapping[str, Any]) -> "Costs":
        """From what `asdict` and JSON made of it, whose keys are text."""

        def by_count(name: str) -> dict[int, float]:
            return {int(count): float(seconds) for count, seconds in costs[name].items()}

        return cls(int(costs["batch_size"]), float(costs["draft"]), by_count("verify"), by_count("rounds"))

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


def bounded(times: Times) -> Times:
    """More drafts never cost less, so a time above that of a longer round was disturbed: the longer one's bounds it."""
    return {count: min(times[more] for more in times if more >= count) for count in times}


def relative(times: Times, longest: int = LONGEST) -> list[float]:
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
    )


def expected_length(agreement: float, draft_tokens: int) -> float:
    """tau: tokens won a round."""
    if agreement >= 1:
        return draft_tokens + 1.0
    return (1 - agreement ** (draft_tokens + 1)) / (1 - agreement)


def predicted_speedup(tau: float, draft_tokens: int, cost_ratio: float, verification: float) -> float:
    """tau / (g c + v)"""
    return tau / (draft_tokens * cost_ratio + verification)


def best_draft_tokens(agreement: float, taken: Sequence[float], choices: Sequence[int] = range(LONGEST + 1)) -> int:
    """The draft length of the greatest predicted speedup, of those whose `relative` time is known; 0 where drafting
    would lose."""
    known = (count for count in choices if count < len(taken))
    return max(known, key=lambda count: (expected_length(agreement, count) / taken[count], -count))


@dataclass
class Agreement:
    """The running estimate of a: agreed trials over all trials, a round's trials ending with its first disagreement.

    Starts at a hopeful `prior` with the weight of `weight` trials, so that drafting is tried wherever a good draft
    would pay. While nothing is drafted nothing is learnt and what was seen fades, so that drafting is tried again.
    """

    prior: float = 0.9
    weight: float = 6.0
    agreed: float = field(default=0.0, init=False)
    refused: float = field(default=0.0, init=False)

    def observe(self, drafted: int, accepted: int) -> None:
        """Count one row's round: tokens drafted, and accepted of them."""
        if drafted == 0:
            self.agreed *= FADING
            self.refused *= FADING
        self.agreed += accepted
        self.refused += accepted < drafted

    @property
    def value(self) -> float:
        """a"""
        return (self.prior * self.weight + self.agreed) / (self.weight + self.agreed + self.refused)


class DraftLength:
    """The draft length of each round of one call: given, or the cost model's best for the agreement seen so far.

    The estimate lives as long as the call: how a call decodes does not depend on the calls before it.
    """

    def __init__(
        self,
        draft_tokens: int | Literal["auto"],
        taken: Callable[[int], Sequence[float] | None],  # `relative` times at a batch size; None: not known yet
        choices: Sequence[int] = range(LONGEST + 1),  # for "auto"
    ):
        self.fixed = None if draft_tokens == "auto" else draft_tokens
        self.taken, self.choices = taken, choices
        self.agreement, self.continuation = Agreement(), Continuation()

    def choose(self, batch: int) -> int:
        """How many tokens all rows of a batch of this size draft in the next round."""
        if self.fixed is not None:
            return self.fixed
        taken = self.taken(batch)
        if taken is None:
            return UNMEASURED // batch
        return best_draft_tokens(self.agreement.value * self.continuation.value, taken, self.choices)

    def observe(self, drafted: int, accepted: int, won: int, ended: bool) -> None:
        """Learns from one round of a row."""
        self.agreement.observe(drafted, accepted)
        self.continuation.observe(won, ended)

    def learn(self, match: TokenMatches) -> None:
        """Count one window's rounds as they would have been."""
        for drafted, accepted in accepted_per_round(match, LEARNT):
            self.agreement.observe(drafted, accepted)
