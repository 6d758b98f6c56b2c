"""Quality on recordings of several windows, as `transcribe` decodes them: by the main, and by the pair.

Test clips of one speaker, joined with short silences, make the recordings; a test clip that is longer than the window
is one as it is. Main and pair take turns at each, which also shows whether drafts change a recording's segments, and
how much faster it ends. A main that was trained on short windows decodes each recording in them too.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch

from whisper_pair import Pair
from whisper_pair.config import Config, Data
from whisper_pair.data import Clip, Window, pack
from whisper_pair.decoding import Options
from whisper_pair.longform import Transcription, knows_timestamps, transcribe
from whisper_pair.report import DraftTokens, LongForm, LongFormRates, LongFormSkipped
from whisper_pair.text import ErrorRate, Normalizer, error_rates, pooled

from .quality import rate_rows
from .speed import spread_out
from .timing import interleaved, speedup

logger = logging.getLogger("whisper_pair.eval")

WINDOWS = 2.0  # a joined recording's length at the most: many short ones say more than a few long ones
LEAST = 1.25  # and at the least: what hardly exceeds one window says little of several
REPEATS = 1  # timed passes, after the one that warms up


@dataclass(frozen=True)
class Recordings:
    """What is to be decoded, and how; or why nothing is."""

    windows: tuple[Window, ...] = ()
    skipped: str | None = None


def recordings(config: Config, clips: Sequence[Clip], long: Sequence[Clip], window_seconds: float) -> Recordings:
    """About eval.long_form_minutes of recordings, taken evenly from all that can be made.

    `long`: test clips over the window.
    """
    minutes = config.eval.long_form_minutes
    if not minutes:
        return Recordings(skipped="eval.long_form_minutes is 0.")
    found = joined(clips, config.data, window_seconds)
    found += [Window((clip,)) for clip in long if clip.seconds <= 60 * minutes]
    if not found:
        needed = LEAST * window_seconds
        return Recordings(skipped=f"no speaker's test clips, joined, last {needed:g} s, which is {LEAST} windows.")
    mean = sum(window.seconds for window in found) / len(found)
    return Recordings(tuple(found[i] for i in spread_out(len(found), max(1, round(60 * minutes / mean)))))


def joined(clips: Sequence[Clip], data: Data, window_seconds: float) -> list[Window]:
    """Clips of one speaker, in the set's order; where no speakers are named, those of one source."""
    plainly = replace(data, pack=True, unpacked_share=0.0, timestamps=0.0, previous_text=0.0)
    found = pack(clips, plainly, WINDOWS * window_seconds, seed=0)
    return [window for window in found if window.seconds >= LEAST * window_seconds]


def long_form_section(
    pair: Pair,  # with draft_tokens=0, the main alone
    chosen: Recordings,
    apart: dict[str, ErrorRate],
    options: Options,
    language: str,
    normalizer: Normalizer,
) -> LongForm | LongFormSkipped:
    """`apart`: the main's errors in each clip by itself, by the clip's name. `options.draft_tokens` are the pair's.

    The sequential algorithm goes by timestamps: a main that writes none decodes chunks.
    """
    if chosen.skipped is not None:
        return {"skipped": chosen.skipped}
    windows = chosen.windows
    chunked = not knows_timestamps(pair, (window.pcm() for window in windows), options)
    options = replace(options, timestamps=not chunked, batch_size=options.batch_size if chunked else 1)
    draft_tokens = cast(DraftTokens, options.draft_tokens)  # an evaluation names lengths, and no tree

    def by(drafts: DraftTokens, margin: float | None = None) -> Callable[[int], Transcription]:
        def decode(number: int) -> Transcription:
            its = replace(options, draft_tokens=drafts)
            ((_, transcription),) = transcribe(pair, [windows[number].pcm()], its, chunked, margin=margin)
            return transcription

        return decode

    logger.info("long form: %d recordings, by the main and by the pair", len(windows))
    margin = pair.margin("auto")
    margins = [None] if margin is None else [None, margin]
    actions = [by(drafts, each) for each in margins for drafts in (0, draft_tokens)]
    timings, answers = interleaved(actions, len(windows), REPEATS, pair.main.device)
    (main_timing, pair_timing), (plain, drafted) = timings[:2], answers[:2]
    texts = {"main": plain, "pair": drafted}
    same = [same_segments(plain, drafted)]
    if margin is not None:
        texts["short_windows"] = answers[2]
        same.append(same_segments(*answers[2:]))
    references = [window.text or "" for window in windows]
    rates = {
        name: error_rates(references, [one.text for one in found], language, normalizer)
        for name, found in texts.items()
    }
    if all(clip.name in apart for window in windows for clip in window.clips):
        rates["apart"] = [pooled([apart[clip.name] for clip in window.clips]) for window in windows]
    gain = speedup(main_timing, pair_timing)
    section: LongForm = {
        "skipped": None,
        "mode": "chunked" if chunked else "sequential",
        "recordings": len(windows),
        "clips": sum(len(window.clips) for window in windows),
        "speakers_told": all(clip.speaker is not None for window in windows for clip in window.clips),
        "seconds": sum(window.seconds for window in windows),
        "batch_size": options.batch_size,
        "draft_tokens": draft_tokens,
        **cast(LongFormRates, rate_rows(rates)),
        "identical": same[0],
        "unexplained": sum(len(windows) - equal for equal in same) if pair.main.dtype == torch.float32 else None,
        "rounds": sum(one.rounds for one in drafted),
        "drafted": sum(one.drafted for one in drafted),
        "accepted": sum(one.accepted for one in drafted),
        "main_seconds": main_timing.seconds,
        "pair_seconds": pair_timing.seconds,
        "speedup": gain.ratio,
        "speedup_interval": list(gain.interval) if len(windows) > 1 else None,
        "speedup_verdict": gain.verdict,
    }
    if margin is not None:
        section["short_windows_identical"] = same[1]
    return section


def same_segments(ones: Sequence[Transcription], others: Sequence[Transcription]) -> int:
    """Recordings with the same segments, times included."""
    return sum(segments(one) == segments(other) for one, other in zip(ones, others, strict=True))


def segments(transcription: Transcription) -> list[tuple[float, float, list[int]]]:
    """(start, end, tokens) of each."""
    return [(segment.start, segment.end, segment.tokens) for segment in transcription.segments]
