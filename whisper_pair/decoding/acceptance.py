"""Acceptance without decoding: for greedy decoding, one parallel pass of the draft decides every round.

An accepted prefix is always the main's own text. So with y the main's greedy output (its end of text included where it
was emitted) and d_t the draft's choice after y_<t, the drafts of a round that starts at t are d_t, d_t+1, ... up to the
first disagreement; what the draft would choose after that is discarded. Three facts of an utterance thus replay its
rounds for every draft length: where d_t = y_t, where d_t ends the text, and how many tokens the length limit allows.

What counts as drafted. A round that starts at t with draft length g drafts min(g, limit - t) tokens; if the draft ends
the text before the main disagrees, or by its first disagreement, it drafts up to and including that end. What comes
after the first disagreement is on a path that the main has left: it counts as drafted in full, even if the draft
would have ended the text there, for that is how fixed shapes compute it and it never flatters the rate. The engine
counts the same way (rows.py), so its counters equal these.

The same holds for trees of drafts (tree.py): with r_t the rank of y_t among the draft's choices after y_<t, every round
over every tree is decided. Sequoia (2402.12374) and OPT-Tree (2406.17276) choose trees by estimated acceptance; here it
is exact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .tree import DraftTree, Path

DRAFT_LENGTHS = range(1, 17)


@dataclass(frozen=True)
class TokenMatches:
    """The draft's first choices along one utterance's greedy output, of T tokens."""

    agrees: tuple[bool, ...]  # [T] the draft's choice is the main's token
    ends: tuple[bool, ...]  # [T] the draft would have ended the text
    finished: bool  # the last token is the end of text; otherwise the length limit came first
    limit: int  # tokens that the length limit allows; T in an unfinished text

    @classmethod
    def of(cls, tokens: Sequence[int], choices: Sequence[int], end: int, limit: int) -> "TokenMatches":
        """tokens: the main's output; choices: the draft's, position by position."""
        finished = bool(tokens) and tokens[-1] == end
        return cls(
            agrees=tuple(one == other for one, other in zip(tokens, choices, strict=True)),
            ends=tuple(choice == end for choice in choices),
            finished=finished,
            limit=limit if finished else len(tokens),
        )


@dataclass(frozen=True)
class TokenRanks:
    """The draft's choices along one utterance's greedy output, of T tokens: what decides the rounds of every tree."""

    ranks: tuple[int, ...]  # [T] which of the draft's choices the main's token is; 0: the first
    end_ranks: tuple[int, ...]  # [T] which the end of text is
    finished: bool  # the last token is the end of text; otherwise the length limit came first
    limit: int  # tokens that the length limit allows; T in an unfinished text
    choices: tuple[int, ...] = ()  # [T] the draft's first choices themselves, where they are known

    @classmethod
    def of(cls, tokens: Sequence[int], ranks: Sequence[Sequence[int]], end: int, limit: int) -> "TokenRanks":
        """tokens: the main's output; ranks: at each position its token's, the end of text's, and the first choice."""
        finished = bool(tokens) and tokens[-1] == end
        own, ends, choices = (tuple(position[which] for position in ranks) for which in range(3))
        return cls(own, ends, finished, limit if finished else len(tokens), choices)

    @property
    def matches(self) -> TokenMatches:
        """What decides the rounds of chains."""
        agrees, ends = (tuple(rank == 0 for rank in ranks) for ranks in (self.ranks, self.end_ranks))
        return TokenMatches(agrees, ends, self.finished, self.limit)


def accepted_per_tree(found: TokenRanks, tree: DraftTree) -> list[tuple[int, int]]:
    """The utterance's rounds over a tree as (drafted, accepted).

    A round that starts at t accepts the longest beginning of the ranks r_t, r_t+1, ... that is a path of the tree.
    """
    rounds, start, total = [], 0, len(found.ranks)
    while start < total:
        path: Path = ()
        ends = []
        while start + len(path) < total:
            at = start + len(path)
            if (end := (*path, found.end_ranks[at])) in tree.nodes:
                ends.append(end)
            if (longer := (*path, found.ranks[at])) not in tree.nodes:
                break
            path = longer
        rounds.append((sum(tree.counted(found.limit - start, ends)), len(path)))
        start += len(path) + 1
    return rounds


def accepted_per_round(match: TokenMatches, draft_tokens: int) -> list[tuple[int, int]]:
    """The utterance's rounds as (drafted, accepted)."""
    rounds, start, total = [], 0, len(match.agrees)
    while start < total:
        drafted = accepted = 0
        for position in range(start, min(start + draft_tokens, match.limit)):
            drafted += 1
            if not match.agrees[position]:
                if not match.ends[position]:
                    drafted = min(draft_tokens, match.limit - start)
                break
            accepted += 1
            if match.ends[position]:
                break
        rounds.append((drafted, accepted))
        start += accepted + 1
    return rounds


@dataclass(frozen=True)
class Acceptance:
    """Rounds pooled over utterances; ratios are of sums."""

    draft_tokens: int
    rounds: int
    drafted: int
    accepted: int
    position_joint: tuple[float, ...]  # [k]: share of rounds in which drafts 1..k+1 were all accepted

    @property
    def acceptance_rate(self) -> float:
        """accepted / drafted"""
        return self.accepted / self.drafted if self.drafted else 0.0

    @property
    def mean_accepted_length(self) -> float:
        """tau: 1 + accepted / rounds"""
        return 1 + self.accepted / self.rounds if self.rounds else 1.0

    @property
    def position_conditional(self) -> tuple[float, ...]:
        """[k]: joint[k] / joint[k-1]; 0 where the earlier drafts never were accepted."""
        before = (1.0, *self.position_joint)
        return tuple(joint / last if last else 0.0 for joint, last in zip(self.position_joint, before, strict=False))


def pooled(rounds: Iterable[tuple[int, int]], draft_tokens: int) -> Acceptance:
    """Rounds as (drafted, accepted), whether replayed or the engine's own counters."""
    counts = [0] * (draft_tokens + 1)  # rounds by accepted drafts
    drafted = 0
    for offered, accepted in rounds:
        counts[accepted] += 1
        drafted += offered
    total = sum(counts)
    return Acceptance(
        draft_tokens=draft_tokens,
        rounds=total,
        drafted=drafted,
        accepted=sum(accepted * count for accepted, count in enumerate(counts)),
        position_joint=tuple(sum(counts[position + 1 :]) / total if total else 0.0 for position in range(draft_tokens)),
    )


def tree_acceptance(found: Sequence[TokenRanks], tree: DraftTree) -> Acceptance:
    """Of a tree; `position_joint` is by depth, and `draft_tokens` the number of nodes."""
    counted = pooled((pair for each in found for pair in accepted_per_tree(each, tree)), tree.depth)
    return replace(counted, draft_tokens=len(tree))


def acceptances(matches: Sequence[TokenMatches], draft_lengths: Iterable[int] = DRAFT_LENGTHS) -> dict[int, Acceptance]:
    """Every draft length at once."""
    return {
        count: pooled((pair for match in matches for pair in accepted_per_round(match, count)), count)
        for count in draft_lengths
    }


def agreement(matches: Iterable[TokenMatches]) -> float:
    """alpha: the share of the main's output tokens that the draft would have chosen."""
    agreed = total = 0
    for match in matches:
        agreed += sum(match.agrees)
        total += len(match.agrees)
    return agreed / total if total else 0.0
