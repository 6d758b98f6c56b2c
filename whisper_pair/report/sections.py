"""What report.json holds, section by section. report.schema.json says the same to other programs, with its bounds.

Ratios are of pooled sums, intervals hold 95 %, times are in seconds unless a name says otherwise.
"""

from typing import Any, Literal, NotRequired, TypedDict, cast, final

Interval = list[float]  # [low, high]
DraftTokens = int | Literal["auto"]
SpeedVerdict = Literal["faster", "slower", "unclear"]


class PairSection(TypedDict):
    """What is judged: the two checkpoints, and how the assistant was cut."""

    main: str
    assistant: str
    start: str  # the checkpoint before fine-tuning
    layers: list[int] | None  # of the main, that the assistant began with; None: not known
    draft_vocabulary: int | None  # tokens that the assistant may propose; None: all
    main_layers: int  # of its decoder
    main_parameters_millions: float
    assistant_own_parameters_millions: float
    encoder_sha256: str


class Leaks(TypedDict):
    """Test clips that were trained on."""

    compared: list[str]  # sources
    not_compared: list[str]
    clips: list[str]
    texts: int  # test sentences that were trained on, in whatever recording


class DataSection(TypedDict):
    """The test clips."""

    sources: list[str]
    clips: int
    available: int  # before eval.limit
    seconds: float
    language: str
    task: str
    leaks: Leaks


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
    """Utterances whose engine rounds follow from the offline account."""

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


class Rate(TypedDict):
    """An error rate."""

    rate: float
    interval: Interval | None
    errors: int
    length: int  # of the reference, in words or characters
    over_main_interval: NotRequired[Interval | None]


class LongFormRates(TypedDict):
    """Error rates on long recordings."""

    main: Rate
    pair: Rate
    apart: NotRequired[Rate]  # the main on the same clips, each by itself


class LongFormSkipped(TypedDict):
    """A long-form section without figures."""

    skipped: str  # why nothing was measured


class LongForm(LongFormRates):
    """Recordings of several windows, by the main and by the pair."""

    skipped: None
    mode: Literal["sequential", "chunked"]
    recordings: int
    clips: int  # that the recordings were joined from
    speakers_told: bool  # False: clips of several speakers may stand in one recording
    seconds: float
    batch_size: int
    draft_tokens: DraftTokens
    identical: int  # recordings whose segments, times included, are the main's
    unexplained: int | None  # recordings that differ in float32; None in half precision
    rounds: int
    drafted: int
    accepted: int
    main_seconds: float
    pair_seconds: float
    speedup: float
    speedup_interval: Interval | None
    speedup_verdict: SpeedVerdict


class Quality(TypedDict):
    """Beside these fields stand the error rates of other assistants, by contender; `rates_of` has all of them."""

    metric: Literal["wer", "cer"]
    start: NotRequired[Rate]  # the checkpoint before fine-tuning
    main: Rate
    assistant: Rate
    pair: Rate
    texts_equal: int  # utterances in which the pair's text is the main's
    long_form: LongForm | LongFormSkipped


def rates_of(quality: Quality) -> dict[str, Rate]:
    """Every contender's error rate, by name."""
    rest = ("metric", "texts_equal", "long_form")
    return {name: cast(Rate, value) for name, value in quality.items() if name not in rest}


class Difference(TypedDict):
    """The first place where two transcripts of a clip differ."""

    clip: str
    position: int
    main: str
    other: str
    gap: float  # between the main's two largest logits there
    noise: float  # of a logit, from batching alone
    near_tie: bool


class IdentitySection(TypedDict):
    """Whether the pair's output is the main's."""

    utterances: int
    identical: int
    near_ties: int
    unexplained: int
    batch_1_against_8: int | None  # utterances that plain greedy decodes differently; half precision only
    differences: list[Difference]


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
    best_draft_tokens: int  # 0: drafting does not pay
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
    counters_equal: int | None  # timed utterances whose counters are those of the offline account


class Gains(TypedDict):
    """How much faster a contender is than the baselines."""

    speedup: float  # over our greedy at the same batch size
    speedup_interval: Interval
    speedup_verdict: SpeedVerdict
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


class MemorySection(TypedDict):
    """What the assistant adds to the main's memory."""

    main_megabytes: float
    assistant_megabytes: float
    assistant_share: float
    batch_size: int
    main_peak_megabytes: float | None
    pair_peak_megabytes: float | None


class Published(TypedDict):
    """Figures of a publication, to compare with."""

    source: str
    greedy_seconds: float
    assisted_seconds: float
    error_rate: float


class TimelineRound(TypedDict):
    """One round of an utterance."""

    accepted: list[str]
    rejected: list[str]
    main: list[str]


class Timeline(TypedDict):
    """One utterance, round by round."""

    clip: str
    seconds: float
    draft_tokens: int
    peaks: list[float]  # of the waveform, over the greatest of all
    rounds: list[TimelineRound]


class UtteranceText(TypedDict):
    """One model's text of an utterance."""

    errors: int
    text: str


@final
class Utterance(TypedDict):
    """One test clip, and what each model wrote."""

    clip: str
    seconds: float
    reference: str
    length: int  # of the reference, in words or characters
    tokens: int
    agreed: int
    rounds: int
    drafted: int
    accepted: int
    identical: bool
    main: UtteranceText
    assistant: UtteranceText
    pair: UtteranceText


class Criterion(TypedDict):
    """One criterion of the verdict."""

    name: str
    figure: float
    target: float
    higher_is_better: bool
    passed: bool
    kept: bool  # passed since drafting is off at this batch size and costs nothing


class VerdictSection(TypedDict):
    """Whether the pair earns its place."""

    passed: bool
    criteria: list[Criterion]
    article: list[Criterion]  # the marks of the 2023 article, which decide nothing


class Environment(TypedDict):
    """What the figures were taken with."""

    dtype: str
    attention: str
    date: str
    versions: dict[str, str]
    hardware: dict[str, Any]
    git_commit: str | None
    seed: int


class MainSection(TypedDict):
    """A main that was evaluated alone."""

    name: str
    layers: int  # of its decoder
    parameters_millions: float


class MainQuality(TypedDict):
    """Its error rate."""

    metric: Literal["wer", "cer"]
    main: Rate


@final
class MainUtterance(TypedDict):
    """One of its clips."""

    clip: str
    seconds: float
    reference: str
    length: int
    tokens: int
    main: UtteranceText


class MainReport(TypedDict):
    """The report.json of a main that was evaluated alone."""

    version: int
    main: MainSection
    data: DataSection
    quality: MainQuality
    speed: SpeedSection
    utterances: list[MainUtterance]
    environment: Environment


class Report(TypedDict):
    """report.json."""

    version: int
    pair: PairSection
    data: DataSection
    acceptance: AcceptanceSection
    compared: dict[str, AssistantAcceptance]
    quality: Quality
    identity: IdentitySection
    cost: dict[str, CostSection]
    prediction: PredictionSection
    speed: SpeedSection
    memory: MemorySection
    training: list[dict[str, Any]]  # the assistant's validations
    published: Published | None
    timeline: Timeline
    utterances: list[Utterance]
    verdict: VerdictSection
    environment: Environment
