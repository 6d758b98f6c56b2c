"""How many drafted tokens the main accepts, at every draft length, from one parallel pass of the assistant."""

from collections.abc import Sequence
from typing import Any

from whisper_pair.decoding import Acceptance, Costs, Match, acceptances, agreement, predicted_speedup


def acceptance_section(matches: Sequence[Match], draft_lengths: Sequence[int], costs: Costs) -> dict[str, Any]:
    """The report's `acceptance`: agreement, and a row per draft length."""
    found = acceptances(matches, draft_lengths)
    rows = [_row(acceptance, costs) for acceptance in found.values()]
    return {
        "agreement": agreement(matches),
        "utterances": len(matches),
        "tokens": sum(len(match.agrees) for match in matches),
        "best_draft_tokens": max(rows, key=lambda row: row["predicted_speedup"])["draft_tokens"],
        "by_draft_tokens": rows,
    }


def _row(acceptance: Acceptance, costs: Costs) -> dict[str, Any]:
    count, tau = acceptance.draft_tokens, acceptance.mean_accepted_length
    return {
        "draft_tokens": count,
        "rounds": acceptance.rounds,
        "drafted": acceptance.drafted,
        "accepted": acceptance.accepted,
        "acceptance_rate": acceptance.acceptance_rate,
        "mean_accepted_length": tau,
        "position_joint": list(acceptance.position_joint),
        "position_conditional": list(acceptance.position_conditional),
        "predicted_speedup": predicted_speedup(tau, count, costs.cost_ratio, costs.verification(count)),
    }
