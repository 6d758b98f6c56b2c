"""report.json's error rates, of the test clips and of long recordings."""

from typing import Literal, NotRequired, TypedDict, cast

from .values import DraftTokens, Interval, SpeedVerdict


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
    short_windows: NotRequired[Rate]  # the main, where it was trained on such windows


class LongFormSkipped(TypedDict):
    """A long-form section without figures."""

    skipped: str  # why nothing was measured


class LongForm(LongFormRates):
    """Recordings of several windows, by the main and by the pair."""

    skipped: None
    mode: Literal["sequential", "chunked"]
    recordings: int
    clips: int  # that the recordings were joined from
    speakers_told: bool  # False: clips of several speakers may be in one recording
    seconds: float
    batch_size: int
    draft_tokens: DraftTokens
    identical: int  # recordings whose segments, times included, are the main's
    short_windows_identical: NotRequired[int]  # the same where short windows are decoded by both
    unexplained: int | None  # recordings that differ in float32, in either kind of windows; None in half precision
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
