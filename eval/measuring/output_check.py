"""Did a contender do the main's work? Its transcripts against the main's, and our engine's counters."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from whisper_pair.decoding import Decoded, TokenMatches, accepted_per_round
from whisper_pair.report import Work

from .contenders import Contender, Hypothesis
from .identity import NearTieCheck


@dataclass(frozen=True)
class OutputCheck:
    """Compares transcripts of the timed clips with the main's. Each difference is examined once."""

    rows: Sequence[int]  # of the timed clips, among the test clips
    tokens: Sequence[list[int]]  # the main's own, end-of-text left out
    matches: Sequence[TokenMatches]  # of the judged assistant
    near_tie: NearTieCheck
    ties: dict[tuple[int, ...], bool] = field(default_factory=dict)  # (clip, *tokens) -> is it a near tie?

    def work(self, contender: Contender, found: Sequence[Hypothesis]) -> Work:
        """How many utterances are the main's, and how many differ by more than a near tie; None for an assistant that
        decodes alone. Beside it our engine's counters, and whether they are those of the offline replay."""
        work: Work = {
            "identical": None,
            "unexplained": None,
            "rounds": None,
            "drafted_rounds": None,
            "drafted": None,
            "accepted": None,
            "counters_equal": None,
        }
        if contender.mode == "assistant":
            return work
        differing = [i for i, hypothesis in enumerate(found) if hypothesis.tokens != self.tokens[i]]
        work["identical"] = len(found) - len(differing)
        work["unexplained"] = sum(not self._is_near_tie(i, found[i].tokens) for i in differing)
        if contender.mode == "speculative":
            decoded = [hypothesis.decoded for hypothesis in found if hypothesis.decoded is not None]
            work["rounds"] = sum(d.rounds for d in decoded)
            work["drafted_rounds"] = sum(count > 0 for d in decoded for count in d.drafted_per_round)
            work["drafted"] = sum(d.drafted for d in decoded)
            work["accepted"] = sum(d.accepted for d in decoded)
            if contender.assistant == "ours" and isinstance(contender.draft_tokens, int):
                work["counters_equal"] = self._counters_equal(decoded, contender.draft_tokens)
        return work

    def _counters_equal(self, decoded: Sequence[Decoded], draft_tokens: int) -> int:
        return sum(
            list(zip(d.drafted_per_round, d.accepted_per_round, strict=True)) == accepted_per_round(match, draft_tokens)
            for d, match in zip(decoded, self.matches, strict=True)
        )

    def _is_near_tie(self, index: int, tokens: list[int]) -> bool:
        key = (index, *tokens)
        if key not in self.ties:
            difference = self.near_tie.difference(self.rows[index], self.tokens[index], tokens)
            self.ties[key] = difference["near_tie"]
        return self.ties[key]
