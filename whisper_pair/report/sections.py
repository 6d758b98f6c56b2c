"""What report.json holds, section by section. report.schema.json says the same to other programs, with its bounds.

Ratios are of pooled sums, intervals hold 95 %, times are in seconds unless a name says otherwise.
"""

from typing import Any, Literal, NotRequired, TypedDict, final

from .acceptance import AcceptanceSection, AssistantAcceptance
from .quality import Quality, Rate
from .short_windows import ShortWindowsSection
from .speed import CostSection, PredictionSection, SpeedSection


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


class MemorySection(TypedDict):
    """What the assistant adds to the main's memory."""

    main_megabytes: float
    assistant_megabytes: float
    assistant_share: float
    batch_size: int
    main_peak_megabytes: float | None
    pair_peak_megabytes: float | None
    short_windows_peak_megabytes: NotRequired[float]  # the pair's, of a main that was trained on short windows


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
    """Whether the pair is worth using."""

    passed: bool
    criteria: list[Criterion]
    article: list[Criterion]  # the targets of the 2023 article, which do not decide the verdict


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
    short_windows: NotRequired[ShortWindowsSection]  # where the main was trained on them
    memory: MemorySection
    training: list[dict[str, Any]]  # the assistant's validations
    published: Published | None
    timeline: Timeline
    utterances: list[Utterance]
    verdict: VerdictSection
    environment: Environment
