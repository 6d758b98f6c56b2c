"""report.json's short windows: windows as long as the clips beside full ones, of a main that was trained on both."""

from typing import Literal, TypedDict

from .quality import Rate
from .speed import CostSection, DraftedSpeedup
from .values import Interval, SpeedVerdict


class WindowTimes(DraftedSpeedup):
    """One way to decode windows of one kind, at one batch size. Its speedup is over the main alone in such windows."""

    windows: Literal["full", "short"]
    mode: Literal["greedy", "speculative"]  # the main alone; the pair, as many drafts as "auto" chooses
    milliseconds: float  # a clip, from features to tokens: chunks' medians added up
    milliseconds_spread: Interval  # chunks' quartiles added up
    encoder_share: float  # of this time, the main's encoder by itself
    over_full: float  # times as fast as the same decoding of full windows
    over_full_interval: Interval
    over_full_verdict: SpeedVerdict
    identical: int  # timed clips whose tokens are the main's in such windows


class WindowFigures(TypedDict):
    """What all test clips give in windows of one kind."""

    seconds: float  # of a window, in the mean
    error_rate: Rate  # the main's; that of short windows with its distance to full ones
    loops: int  # the main's transcripts that ran into the length limit
    agreement: float
    agreement_interval: Interval | None
    mean_accepted_length: float
    mean_accepted_length_interval: Interval | None
    best_draft_tokens: int  # by the cost model, at batch 1
    predicted_speedup: float  # of decoding with so many
    identical: int  # clips of which the pair's tokens are the main's in such windows
    unexplained: int  # those that differ by more than a near tie
    cost: list[CostSection]  # at the timed batch sizes
    cache_megabytes: float  # keys and values of main and assistant, at the largest of them


class ShortWindowsSection(TypedDict):
    """Both kinds of windows side by side."""

    margin: float  # seconds that a short window outlasts its clip, before it is rounded up
    clips: int
    draft_tokens: int  # of acceptance and identity
    timed_clips: int
    repeats: int
    full: WindowFigures
    short: WindowFigures
    rows: list[WindowTimes]


def pair_in_short_windows(section: ShortWindowsSection) -> list[WindowTimes]:
    """The pair's rows over short windows."""
    return [row for row in section["rows"] if (row["windows"], row["mode"]) == ("short", "speculative")]
