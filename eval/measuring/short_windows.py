"""Windows as long as the clips beside full ones, of a main that was trained on both: errors, drafts, speed and memory.

A clip is decoded in either kind. The pair's tokens are compared with the main's own in the same windows, for the main
may write another text in short ones. Speed is timed as in speed.py, both kinds, with and without the assistant, in
turns.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import fmean, median_low
from typing import Literal

import torch
from torch import Tensor

from whisper_pair.decoding import FRAMES_PER_SECOND, Costs, Decoded, Engine, Options, encode_each, window_frames
from whisper_pair.report import Rate, ShortWindowsSection, WindowFigures, WindowTimes

from .acceptance import acceptance_section
from .cost import cost_section, steady_costs
from .decoded_clips import DRAFTS, DecodedClips
from .identity import NearTieCheck, differences
from .speed import Timed
from .timing import Timing, interleaved, speedup
from .windows import windows_of

logger = logging.getLogger("whisper_pair.eval")

WindowKind = Literal["full", "short"]
Mode = Literal["greedy", "speculative"]
Contender = tuple[WindowKind, Mode]

DRAFTED: dict[Mode, int | Literal["auto"]] = {"greedy": 0, "speculative": "auto"}
MB = 1e6


@dataclass(frozen=True)
class KindOfWindows:
    """The test clips in windows of one kind."""

    decoded: DecodedClips  # by the main, and by the judged pair
    rate: Rate  # the main's errors
    near_tie: NearTieCheck  # in such windows
    timed: Timed  # which of the clips are timed, and their features in full windows

    @property
    def frames(self) -> list[int]:
        """Of the encoder, in each clip's window."""
        full: int = self.near_tie.main.config.max_source_positions
        return [window_frames(clip.seconds, self.near_tie.margin, full) for clip in self.near_tie.clips]

    @cached_property
    def windows(self) -> list[Tensor]:
        """Features [mel, 2 F] of the clips that are timed."""
        return windows_of(self.timed.features, self.timed.clips, self.near_tie.margin)

    def same_text(self, found: Sequence[Decoded]) -> int:
        """How many of the timed clips have the main's tokens."""
        expected = [self.decoded.main[row] for row in self.timed.rows]
        return sum(one.tokens == tokens for one, tokens in zip(found, expected, strict=True))


def short_windows_section(
    engine: Engine,  # of the judged pair
    full: KindOfWindows,
    short: KindOfWindows,
    options: Options,
    largest: int,
    repeats: int,
    costs: dict[int, Costs],
) -> ShortWindowsSection:
    """At batch 1 and the `largest`. `costs`: over full windows, by batch size."""
    sizes = sorted({1, largest})
    found = steady_costs(engine, sizes, median_low(short.frames))
    for size in sizes:  # otherwise "auto" would try drafts on the clock
        for frames in {*short.frames}:
            engine.measure_rounds(replace(options, batch_size=size, draft_tokens="auto"), frames)
    logger.info("timing short windows beside full ones, on %d clips at batch %s", len(full.timed.clips), sizes)
    return {
        "margin": short.near_tie.margin or 0.0,
        "clips": len(full.decoded.main),
        "draft_tokens": DRAFTS,
        "timed_clips": len(full.timed.clips),
        "repeats": repeats,
        "full": _figures(engine, full, [costs[size] for size in sizes]),
        "short": _figures(engine, short, [found[size] for size in sizes]),
        "rows": [row for size in sizes for row in _times(engine, full, short, options, size, repeats)],
    }


def _figures(engine: Engine, kind: KindOfWindows, costs: list[Costs]) -> WindowFigures:
    """`costs`: by batch size, upwards from 1."""
    plain, ours, end = kind.decoded.main, kind.decoded.by["ours"], engine.special.end
    acceptance = acceptance_section(ours.matches, costs[0])
    by_length = {row["draft_tokens"]: row for row in acceptance["by_draft_tokens"]}
    row, best = by_length[DRAFTS], by_length[acceptance["best_draft_tokens"]]
    found, ties = differences(plain, ours, kind.near_tie)
    return {
        "seconds": fmean(kind.frames) / FRAMES_PER_SECOND,
        "error_rate": kind.rate,
        "loops": sum(not tokens or tokens[-1] != end for tokens in plain),
        "agreement": acceptance["agreement"],
        "agreement_interval": acceptance["agreement_interval"],
        "mean_accepted_length": row["mean_accepted_length"],
        "mean_accepted_length_interval": row["mean_accepted_length_interval"],
        "best_draft_tokens": best["draft_tokens"],
        "predicted_speedup": best["predicted_speedup"],
        "identical": len(plain) - len(found),
        "unexplained": len(found) - ties,
        "cost": [cost_section(its) for its in costs],
        "cache_megabytes": engine.caches.needed(costs[-1].batch_size, max(kind.frames)) / MB,
    }


def _times(
    engine: Engine, full: KindOfWindows, short: KindOfWindows, options: Options, batch_size: int, repeats: int
) -> list[WindowTimes]:
    """One row a kind of windows and way to decode them, and the encoder over each kind, all timed in turns."""
    kinds: dict[WindowKind, KindOfWindows] = {"full": full, "short": short}
    starts = range(0, len(full.timed.clips), batch_size)

    def decoding(kind: KindOfWindows, asked: Options, chunk: int) -> list[Decoded]:
        return engine.decode(kind.windows[starts[chunk] : starts[chunk] + batch_size], asked)

    def encoding(kind: KindOfWindows, chunk: int) -> list[Decoded]:
        encode_each(engine.encoders.main, kind.windows[starts[chunk] : starts[chunk] + batch_size])
        return []

    contenders: list[Contender] = [(kind, mode) for mode in DRAFTED for kind in kinds]
    asked = {mode: replace(options, batch_size=batch_size, draft_tokens=drafts) for mode, drafts in DRAFTED.items()}
    actions = [partial(decoding, kinds[kind], asked[mode]) for kind, mode in contenders]
    actions += [partial(encoding, kind) for kind in kinds.values()]
    with torch.inference_mode():
        timings, answers = interleaved(actions, len(starts), repeats, engine.device)
    timing, encoder = dict(zip(contenders, timings, strict=False)), dict(zip(kinds, timings[-2:], strict=True))
    return [
        _row(contender, batch_size, timing, encoder, kinds[contender[0]], [row for chunk in answer for row in chunk])
        for contender, answer in zip(contenders, answers, strict=False)
    ]


def _row(
    contender: Contender,
    batch_size: int,
    timing: dict[Contender, Timing],
    encoder: dict[WindowKind, Timing],
    kind: KindOfWindows,
    decoded: list[Decoded],
) -> WindowTimes:
    windows, mode = contender
    its, drafted = timing[contender], mode == "speculative"
    gain, over = speedup(timing[windows, "greedy"], its), speedup(timing["full", mode], its)
    return {
        "windows": windows,
        "mode": mode,
        "batch_size": batch_size,
        "milliseconds": 1000 * its.seconds / len(decoded),
        "milliseconds_spread": [1000 * seconds / len(decoded) for seconds in its.quartiles],
        "encoder_share": min(1.0, encoder[windows].seconds / its.seconds),
        "speedup": gain.ratio,
        "speedup_interval": list(gain.interval),
        "speedup_verdict": gain.verdict,
        "over_full": over.ratio,
        "over_full_interval": list(over.interval),
        "over_full_verdict": over.verdict,
        "steady": its.steady,
        "rounds": sum(row.rounds for row in decoded) if drafted else None,
        "drafted_rounds": sum(count > 0 for row in decoded for count in row.drafted_per_round) if drafted else None,
        "identical": kind.same_text(decoded),
    }
