"""report.json's speed: what a round costs, what that predicts, and what was timed."""

from typing import TypedDict

from .values import DraftTokens, Interval, SpeedVerdict


class CostSection(TypedDict):
    """The cost model's figures at one batch size."""

    batch_size: int
    cost_ratio: float  # c
    assistant_speedup: float  # 1 / c
    draft_milliseconds: float
    main_milliseconds: float
    verification: dict[str, float]  # v by draft length


class Prediction(TypedDict):
    """What the cost model says of one draft length."""

    draft_tokens: int
    decoding: float
    end_to_end: float
    measured: float | None
    measured_interval: Interval | None


class BatchPrediction(CostSection):
    """What the cost model says at one batch size."""

    encoder_share: float
    assistant_encoder_share: float
    predictions: list[Prediction]
    best_draft_tokens: int  # 0: drafting does not pay off
    best_end_to_end: float


class WhatIf(TypedDict):
    """What the cost model says of another pair."""

    case: str
    draft_tokens: int
    decoding: float
    end_to_end: float


class PredictionSection(TypedDict):
    """All that the cost model says."""

    by_batch_size: list[BatchPrediction]
    what_if: list[WhatIf]


class Parts(TypedDict):
    """Seconds of a pass."""

    encoder: float
    draft: float
    verification: float
    rest: float


class Work(TypedDict):
    """Whether a contender did the main's work, and our engine's counters; None where that has no meaning."""

    identical: int | None  # timed utterances that are the main's, token for token
    unexplained: int | None  # those that differ by more than a near tie
    rounds: int | None
    drafted_rounds: int | None  # in which at least one token was drafted
    drafted: int | None
    accepted: int | None
    counters_equal: int | None  # timed utterances whose counters are those of the offline replay


class Speedup(TypedDict):
    """Over our greedy at the same batch size."""

    speedup: float
    speedup_interval: Interval
    speedup_verdict: SpeedVerdict


class DraftedSpeedup(Speedup):
    """A speedup, and how often it was drafted for."""

    batch_size: int
    steady: bool  # False: warm-up seems to be on the clock
    rounds: int | None  # None where nothing drafts
    drafted_rounds: int | None  # in which at least one token was drafted


class Gains(Speedup):
    """How much faster a contender is than the baselines."""

    speedup_vs_transformers: float
    speedup_vs_transformers_interval: Interval


class ContenderTimes(TypedDict):
    """What was timed of one contender."""

    engine: str
    mode: str
    assistant: str | None
    draft_tokens: DraftTokens | None
    schedule: str | None
    batch_size: int
    seconds: float
    spread: Interval  # chunks' quartiles added up
    rtfx: float
    latency_p50: float
    latency_p95: float
    joules: float | None
    steady: bool  # False: warm-up seems to be on the clock


class SpeedRow(ContenderTimes, Gains, Work):
    """One contender at one batch size."""

    parts: Parts | None


class EncoderSeconds(TypedDict):
    """The encoders' share at one batch size."""

    batch_size: int
    main: float
    assistant: float | None


class SpeedSection(TypedDict):
    """All that was timed."""

    clips: int
    audio_seconds: float
    repeats: int
    mel_seconds: float
    text_seconds: float
    encoder: list[EncoderSeconds]
    left_out: list[str]  # contenders that could not be timed, and why
    rows: list[SpeedRow]
