"""report.json's acceptance: how many drafts the main accepts, and which."""

from typing import NotRequired, TypedDict

from .values import Interval


class AcceptanceRow(TypedDict):
    """One draft length."""

    draft_tokens: int
    rounds: int
    drafted: int
    accepted: int
    acceptance_rate: float
    acceptance_rate_interval: Interval | None
    mean_accepted_length: float
    mean_accepted_length_interval: Interval | None
    accepted_histogram: list[int]  # [k]: rounds in which k drafts were accepted
    position_joint: list[float]  # [k]: share of rounds in which drafts 1..k+1 were all accepted
    position_conditional: list[float]  # [k]: joint[k] / joint[k - 1]
    predicted_speedup: float  # of decoding at batch 1


class AssistantAcceptance(TypedDict):
    """One assistant's, at every draft length."""

    agreement: float
    agreement_interval: Interval | None
    utterances: int
    tokens: int
    best_draft_tokens: int
    by_draft_tokens: list[AcceptanceRow]


class TokenGroup(TypedDict):
    """Agreement on the tokens of one group."""

    name: str
    tokens: int
    agreed: int
    agreement: float
    agreement_interval: Interval | None


class AgreementByGroup(TypedDict):
    """Agreement by kind and by position of tokens."""

    by_token_class: list[TokenGroup]
    by_position: list[TokenGroup]
    by_length: list[TokenGroup]


class RejectionExample(TypedDict):
    """One place where the assistant's token was rejected."""

    clip: str
    before: str  # the text before the token
    assistant: str  # what the assistant predicts in its place


class RejectedToken(TypedDict):
    """One of the main's tokens that the assistant predicts least often."""

    token: int
    text: str
    tokens: int
    agreed: int
    examples: list[RejectionExample]


class Counters(TypedDict):
    """Utterances whose engine rounds equal the offline replay."""

    utterances: int
    draft_tokens: int
    equal: int


class TreeRow(TypedDict):
    """What a tree of drafts wins."""

    paths: list[str]  # a digit a rank of the assistant's choices, from the first draft on
    nodes: int  # drafts a round
    depth: int  # passes of the assistant a round
    rounds: int
    mean_accepted_length: float  # tau
    mean_accepted_length_interval: Interval | None
    position_joint: list[float]  # [k]: share of rounds in which k + 1 drafts or more were accepted
    predicted_speedup: float  # of decoding at batch 1


class AcceptanceSection(AssistantAcceptance, AgreementByGroup):
    """Acceptance of the judged assistant."""

    least_accepted: list[RejectedToken]
    counters: Counters
    by_tree: NotRequired[list[TreeRow]]  # of the trees that "auto" may draft
