"""End-to-end speed: log-mel features to tokens, every contender on the same clips, batches and machine.

Clips arrive in chunks of the batch size, the same for all: our engine's refilling of finished rows, which gains in long
queues, is left out. Each contender's tokens are compared with the main's, for only equal work can be compared.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from whisper_pair.audio import LogMel
from whisper_pair.config import Eval
from whisper_pair.data import Clip, features_of
from whisper_pair.decoding import Costs, TokenMatches, encode
from whisper_pair.report import ContenderTimes, EncoderSeconds, Gains, SpeedRow, SpeedSection

from .contenders import Contender, Hypothesis
from .energy import joule_counter
from .engines import Engines
from .identity import NearTieCheck
from .output_check import OutputCheck
from .parts import parts_of
from .timing import Timing, interleaved, speedup

logger = logging.getLogger("whisper_pair.eval")


@dataclass(frozen=True)
class Timed:
    """The clips on the clock, with the main's tokens."""

    rows: list[int]  # among the test clips
    clips: list[Clip]
    features: torch.Tensor  # [clips, mel, frames]
    tokens: list[list[int]]  # the main's own, end-of-text left out
    matches: list[TokenMatches]  # of the judged assistant; empty where there is none

    @property
    def seconds(self) -> float:
        """Of audio."""
        return sum(clip.seconds for clip in self.clips)


def timed_clips(
    clips: Sequence[Clip],
    count: int,
    main,
    log_mel: LogMel,
    tokens: Sequence[Sequence[int]],
    matches: Sequence[TokenMatches],
) -> Timed:
    """`count` of the clips, taken evenly. `tokens`: the main's, of every clip."""
    rows = spread_out(len(clips), count)
    chosen = [clips[row] for row in rows]
    features = features_of(chosen, log_mel, main.device).to(main.dtype)
    end = main.generation_config.eos_token_id
    text = [[token for token in tokens[row] if token < end] for row in rows]
    return Timed(rows, chosen, features, text, [matches[row] for row in rows] if matches else [])


def spread_out(available: int, count: int | None) -> list[int]:
    """Indices at even distances through a set."""
    count = available if count is None else min(count, available)
    return [i * available // count for i in range(count)]


def speed_section(
    engines: Engines,
    contenders: Sequence[Contender],
    timed: Timed,
    settings: Eval,
    near_tie: NearTieCheck,
    costs: dict[int, Costs],
    log_mel: LogMel,
    left_out: Sequence[str],
) -> SpeedSection:
    """A row per contender and batch size. `costs`: the judged pair's, at 1 and at each timed batch size; empty for a
    main alone. `left_out`:
    why a contender is missing, one sentence each."""
    device = engines.main.device
    check = OutputCheck(timed.rows, timed.tokens, timed.matches, near_tie)
    mel_seconds, text_seconds = _around(timed, log_mel, near_tie, settings.repeats, device)
    encoder_rows: list[EncoderSeconds] = []
    rows: list[SpeedRow] = []
    for batch_size in settings.batch_sizes:
        fitting = [c for c in contenders if c.batches or batch_size == 1]
        logger.info("timing %d contenders on %d clips at batch %d", len(fitting), len(timed.clips), batch_size)
        encoder, timings, hypotheses = _time(engines, fitting, timed, batch_size, settings.repeats)
        encoder_rows.append(encoder)
        sizes = [len(part) for part in timed.features.split(batch_size)]
        for contender, timing, found in zip(fitting, timings, hypotheses, strict=True):
            gains = _gains(fitting, timings, timing)
            parts = parts_of(contender, timing.seconds, found, sizes, encoder, costs)
            row = _row(contender, timing, batch_size, sizes, timed.seconds)
            rows.append({**row, **gains, **check.work(contender, found), "parts": parts})
    return {
        "clips": len(timed.clips),
        "audio_seconds": timed.seconds,
        "repeats": settings.repeats,
        "mel_seconds": mel_seconds,
        "text_seconds": text_seconds,
        "encoder": encoder_rows,
        "left_out": list(left_out),
        "rows": rows,
    }


def _time(
    engines: Engines, contenders: Sequence[Contender], timed: Timed, batch_size: int, repeats: int
) -> tuple[EncoderSeconds, list[Timing], list[list[Hypothesis]]]:
    """The encoders' seconds, and each contender's times and transcripts, all interleaved."""
    device, encoders = engines.main.device, engines.judged.encoders
    chunks = timed.features.split(batch_size)

    def decoding(contender: Contender, chunk: int) -> list[Hypothesis]:
        return contender.decode(chunks[chunk], batch_size)

    def encoding(encoder, chunk: int) -> list[Hypothesis]:
        encode(encoder, chunks[chunk])
        return []

    actions: list[Callable[[int], list[Hypothesis]]] = [partial(decoding, contender) for contender in contenders]
    actions += [partial(encoding, encoder) for encoder in (encoders.main, encoders.draft) if encoder is not None]
    with torch.inference_mode():
        timings, answers = interleaved(actions, len(chunks), repeats, device, joule_counter(device))
    count = len(contenders)
    main, *rest = (timing.seconds for timing in timings[count:])
    encoder: EncoderSeconds = {"batch_size": batch_size, "main": main, "assistant": rest[0] if rest else None}
    transcripts = [[hypothesis for chunk in answer for hypothesis in chunk] for answer in answers[:count]]
    return encoder, timings[:count], transcripts


def _around(
    timed: Timed, log_mel: LogMel, near_tie: NearTieCheck, repeats: int, device: torch.device
) -> tuple[float, float]:
    """What lies before and after the timed region, one clip at a time: samples to features, tokens to text."""
    waves = log_mel.pad([clip.read() for clip in timed.clips]).to(device)
    tokenizer = near_tie.pieces.tokenizer
    actions = [lambda i: log_mel(waves[i : i + 1]), lambda i: tokenizer.decode(timed.tokens[i])]
    (mel, text), _ = interleaved(actions, len(timed.clips), repeats, device)
    return mel.seconds, text.seconds


def _row(contender: Contender, timing: Timing, batch_size: int, sizes: list[int], audio: float) -> ContenderTimes:
    waits = np.repeat(timing.chunks, sizes)  # an utterance waits for the chunk it came with
    return {
        "engine": contender.engine,
        "mode": contender.mode,
        "assistant": contender.assistant,
        "draft_tokens": contender.draft_tokens,
        "schedule": contender.schedule,
        "batch_size": batch_size,
        "seconds": timing.seconds,
        "spread": list(timing.quartiles),
        "rtfx": audio / timing.seconds,
        "latency_p50": float(np.quantile(waits, 0.5)),
        "latency_p95": float(np.quantile(waits, 0.95)),
        "joules": timing.joules,
        "steady": timing.steady,
    }


def _gains(contenders: Sequence[Contender], timings: Sequence[Timing], timing: Timing) -> Gains:
    """Over our greedy (the first contender) and over transformers'."""
    stock = next(
        t for c, t in zip(contenders, timings, strict=True) if (c.engine, c.mode) == ("transformers", "greedy")
    )
    ours, theirs = speedup(timings[0], timing), speedup(stock, timing)
    return {
        "speedup": ours.ratio,
        "speedup_interval": list(ours.interval),
        "speedup_verdict": ours.verdict,
        "speedup_vs_transformers": theirs.ratio,
        "speedup_vs_transformers_interval": list(theirs.interval),
    }
