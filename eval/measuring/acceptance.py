"""How many drafted tokens the main accepts, at every draft length, from one parallel pass of the assistant.

Every figure is a ratio of pooled sums, with a bootstrap interval over utterances. Beside the rates stands where they
are high and low: by kind of token, position in the utterance, the utterance's length, and the tokens most often
rejected.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from whisper_pair.decoding import (
    DRAFT_LENGTHS,
    Acceptance,
    Costs,
    SpecialTokens,
    TokenMatches,
    accepted_per_round,
    agreement,
    pooled,
    predicted_speedup,
)
from whisper_pair.report import (
    AcceptanceRow,
    AgreementByGroup,
    AssistantAcceptance,
    RejectedToken,
    RejectionExample,
    TokenGroup,
)

from .bootstrap import ratio_intervals
from .tokens import Pieces, token_class

BOUNDS = (0, 4, 8, 16, 32, 64)  # where bins of positions and lengths begin, in tokens
SHOWN, SEEN = 10, 3  # rejected tokens that are listed, and how often one must occur
CONTEXT = 6  # tokens shown before an example


def acceptance_section(matches: Sequence[TokenMatches], costs: Costs) -> AssistantAcceptance:
    """Agreement, and a row per draft length."""
    found = {count: [accepted_per_round(match, count) for match in matches] for count in DRAFT_LENGTHS}
    rows = [_row(count, rounds, costs) for count, rounds in found.items()]
    best = max(rows, key=lambda row: row["predicted_speedup"])
    agreed = [sum(match.agrees) for match in matches]
    return {
        "agreement": agreement(matches),
        "agreement_interval": ratio_intervals([agreed], [[len(match.agrees) for match in matches]])[0],
        "utterances": len(matches),
        "tokens": sum(len(match.agrees) for match in matches),
        "best_draft_tokens": best["draft_tokens"],
        "by_draft_tokens": rows,
    }


def _row(count: int, rounds: list[list[tuple[int, int]]], costs: Costs) -> AcceptanceRow:
    """`rounds`: each utterance's (drafted, accepted)."""
    flat = [pair for utterance in rounds for pair in utterance]
    acceptance: Acceptance = pooled(flat, count)
    drafted = [sum(proposed for proposed, _ in utterance) for utterance in rounds]
    accepted = [sum(count for _, count in utterance) for utterance in rounds]
    tokens = [count + len(utterance) for count, utterance in zip(accepted, rounds, strict=True)]
    rate, tau = ratio_intervals([accepted, tokens], [drafted, [len(utterance) for utterance in rounds]])
    histogram = Counter(accepted_drafts for _, accepted_drafts in flat)
    length = acceptance.mean_accepted_length
    return {
        "draft_tokens": count,
        "rounds": acceptance.rounds,
        "drafted": acceptance.drafted,
        "accepted": acceptance.accepted,
        "acceptance_rate": acceptance.acceptance_rate,
        "acceptance_rate_interval": rate,
        "mean_accepted_length": length,
        "mean_accepted_length_interval": tau,
        "accepted_histogram": [histogram[k] for k in range(count + 1)],  # rounds by accepted drafts
        "position_joint": list(acceptance.position_joint),
        "position_conditional": list(acceptance.position_conditional),
        "predicted_speedup": predicted_speedup(length, count, costs.cost_ratio, costs.verification(count)),
    }


def agreement_by_group(
    matches: Sequence[TokenMatches], tokens: Sequence[Sequence[int]], pieces: Pieces, special: SpecialTokens
) -> AgreementByGroup:
    """Agreement by kind of token, by position in the utterance and by the utterance's length."""

    def kind(utterance: int, place: int) -> str:
        token = tokens[utterance][place]
        return token_class(special.kind(token), pieces(token), place == 0 or token in special.words)

    return {
        "by_token_class": _grouped(matches, kind),
        "by_position": _grouped(matches, lambda _, place: _bin(place)),
        "by_length": _grouped(matches, lambda utterance, _: _bin(len(tokens[utterance]))),
    }


def _bin(value: int) -> str:
    lower = max(bound for bound in BOUNDS if bound <= value)
    upper = next((bound for bound in BOUNDS if bound > value), None)
    return f"{lower} to {upper - 1}" if upper else f"{lower} or more"


def _grouped(matches: Sequence[TokenMatches], group: Callable[[int, int], str]) -> list[TokenGroup]:
    """`group` names each token's group, from its utterance and position."""
    seen: dict[str, list[int]] = defaultdict(lambda: [0] * len(matches))
    agreed: dict[str, list[int]] = defaultdict(lambda: [0] * len(matches))
    for utterance, match in enumerate(matches):
        for place, agrees in enumerate(match.agrees):
            name = group(utterance, place)
            seen[name][utterance] += 1
            agreed[name][utterance] += agrees
    names = sorted(seen, key=lambda name: (int(name.split()[0]) if name[0].isdigit() else 0, -sum(seen[name])))
    if not names:
        return []
    intervals = ratio_intervals([agreed[name] for name in names], [seen[name] for name in names])
    return [
        {
            "name": name,
            "tokens": sum(seen[name]),
            "agreed": sum(agreed[name]),
            "agreement": sum(agreed[name]) / sum(seen[name]),
            "agreement_interval": found,
        }
        for name, found in zip(names, intervals, strict=True)
    ]


def least_accepted(
    matches: Sequence[TokenMatches],
    tokens: Sequence[Sequence[int]],
    choices: Sequence[Sequence[int]],
    names: Sequence[str],
    pieces: Pieces,
) -> list[RejectedToken]:
    """The main's tokens that the assistant predicts least often, each with examples: the text before it, and the
    assistant's token in its place. Ordered by agreement, then by how often the token was rejected."""
    seen: Counter[int] = Counter(token for row in tokens for token in row)
    rejected: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for utterance, match in enumerate(matches):
        for place, agrees in enumerate(match.agrees):
            if not agrees:
                rejected[tokens[utterance][place]].append((utterance, place))
    frequent = [token for token in rejected if seen[token] >= SEEN]
    worst = sorted(frequent, key=lambda token: (-len(rejected[token]) / seen[token], -len(rejected[token]), token))

    def example(utterance: int, place: int) -> RejectionExample:
        before = "".join(pieces(token) for token in tokens[utterance][max(0, place - CONTEXT) : place])
        return {"clip": names[utterance], "before": before, "assistant": pieces(choices[utterance][place])}

    return [
        {
            "token": token,
            "text": pieces(token),
            "tokens": seen[token],
            "agreed": seen[token] - len(rejected[token]),
            "examples": [example(*where) for where in rejected[token][:2]],
        }
        for token in worst[:SHOWN]
    ]
