"""End-to-end speed: log-mel features to tokens, every contender on the same clips, batches and machine.

Clips arrive in chunks of the batch size, the same for all: our engine's refilling of finished rows, which gains in long
queues, is left out. What each contender said is held against the main's text, for only equal work can be compared.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from whisper_pair.audio import LogMel
from whisper_pair.config import Eval
from whisper_pair.data import Clip, features_of
from whisper_pair.decoding import Costs, TokenMatches, accepted_per_round, between, blend, encode

from .contenders import Contender, Spoken
from .energy import joule_counter
from .engines import Engines
from .identity import Witness
from .timing import Timing, interleaved, speedup

logger = logging.getLogger("whisper_pair.eval")


@dataclass(frozen=True)
class Timed:
    """The clips on the clock, with what the main said of them."""

    rows: list[int]  # among the test clips
    clips: list[Clip]
    features: torch.Tensor  # [clips, mel, frames]
    tokens: list[list[int]]  # the main's own, end-of-text left out
    matches: list[TokenMatches]  # of the judged assistant

    @property
    def seconds(self) -> float:
        return sum(clip.seconds for clip in self.clips)


def timed_clips(
    clips: Sequence[Clip], count: int, main, log_mel: LogMel, tokens, matches: Sequence[TokenMatches]
) -> Timed:
    """`tokens`: the main's, of every clip."""
    rows = spread_out(len(clips), count)
    chosen = [clips[row] for row in rows]
    features = features_of(chosen, log_mel, main.device).to(main.dtype)
    end = main.generation_config.eos_token_id
    said = [[token for token in tokens[row] if token < end] for row in rows]
    return Timed(rows, chosen, features, said, [matches[row] for row in rows])


def spread_out(available: int, count: int | None) -> list[int]:
    """Indices at even distances through a set."""
    count = available if count is None else min(count, available)
    return [i * available // count for i in range(count)]


def speed_section(
    engines: Engines,
    contenders: Sequence[Contender],
    timed: Timed,
    settings: Eval,
    witness: Witness,
    costs: dict[int, Costs],
    log_mel: LogMel,
    left_out: Sequence[str],
) -> dict[str, Any]:
    """A row per contender and batch size. `costs`: the judged pair's, at 1 and at each timed batch size. `left_out`:
    why a contender is missing, one sentence each."""
    device, judged = engines.main.device, engines.judged
    joules = joule_counter(device)
    section: dict[str, Any] = {
        "clips": len(timed.clips),
        "audio_seconds": timed.seconds,
        "repeats": settings.repeats,
        **_around(timed, log_mel, witness, settings.repeats, device),
        "encoder": [],
        "left_out": list(left_out),
        "rows": [],
    }
    judge = Judge(timed, witness)
    encoders = {"main": judged.encoders.main}
    if judged.encoders.draft is not None:
        encoders["assistant"] = judged.encoders.draft
    for batch_size in settings.batch_sizes:
        fitting = [c for c in contenders if c.batches or batch_size == 1]
        parts = timed.features.split(batch_size)
        actions = [lambda chunk, c=c: c.decode(parts[chunk], batch_size) for c in fitting]  # noqa: B023
        actions += [lambda chunk, e=e: encode(e, parts[chunk]) for e in encoders.values()]  # noqa: B023
        logger.info("timing %d contenders on %d clips at batch %d", len(fitting), len(timed.clips), batch_size)
        with torch.inference_mode():
            timings, answers = interleaved(actions, len(parts), settings.repeats, device, joules)
        heard = dict(zip(encoders, (t.seconds for t in timings[len(fitting) :]), strict=True))
        section["encoder"].append(
            {"batch_size": batch_size, "main": heard["main"], "assistant": heard.get("assistant")}
        )
        said = [[spoken for chunk in answer for spoken in chunk] for answer in answers[: len(fitting)]]
        sizes = [len(part) for part in parts]
        for contender, timing, spoken in zip(fitting, timings, said, strict=False):
            row = _row(contender, timing, batch_size, sizes, timed.seconds)
            row |= _gains(fitting, timings, timing) | judge.work(contender, spoken)
            row["parts"] = _parts(contender, timing, spoken, sizes, heard, costs, batch_size)
            section["rows"].append(row)
    return section


def _around(timed: Timed, log_mel: LogMel, witness: Witness, repeats: int, device) -> dict[str, float]:
    """What lies before and after the timed region, one clip at a time: samples to features, tokens to text."""
    waves = log_mel.pad([clip.read() for clip in timed.clips]).to(device)
    tokenizer = witness.pieces.tokenizer
    actions = [lambda i: log_mel(waves[i : i + 1]), lambda i: tokenizer.decode(timed.tokens[i])]
    (mel, text), _ = interleaved(actions, len(timed.clips), repeats, device)
    return {"mel_seconds": mel.seconds, "text_seconds": text.seconds}


def _row(contender: Contender, timing: Timing, batch_size: int, sizes: list[int], audio: float) -> dict[str, Any]:
    waits = np.repeat(timing.chunks, sizes)  # an utterance waits for the chunk it came with
    return {
        "engine": contender.engine,
        "mode": contender.mode,
        "assistant": contender.assistant,
        "draft_tokens": contender.draft_tokens,
        "schedule": contender.schedule,
        "batch_size": batch_size,
        "seconds": timing.seconds,
        "spread": [float(timing.passes.min()), float(timing.passes.max())],
        "rtfx": audio / timing.seconds,
        "latency_p50": float(np.quantile(waits, 0.5)),
        "latency_p95": float(np.quantile(waits, 0.95)),
        "joules": timing.joules,
        "steady": timing.steady,
    }


def _gains(contenders: Sequence[Contender], timings: Sequence[Timing], timing: Timing) -> dict[str, Any]:
    """Over our greedy (the first contender) and over transformers'."""
    stock = next(
        t for c, t in zip(contenders, timings, strict=False) if (c.engine, c.mode) == ("transformers", "greedy")
    )
    ours, theirs = speedup(timings[0], timing), speedup(stock, timing)
    return {
        "speedup": ours.ratio,
        "speedup_interval": list(ours.interval),
        "speedup_verdict": ours.verdict,
        "speedup_vs_transformers": theirs.ratio,
        "speedup_vs_transformers_interval": list(theirs.interval),
    }


class Judge:
    """Did a contender do the main's work? Differences are asked about once each."""

    def __init__(self, timed: Timed, witness: Witness):
        self.timed, self.witness = timed, witness
        self.ties: dict[tuple, bool] = {}

    def work(self, contender: Contender, spoken: Sequence[Spoken]) -> dict[str, Any]:
        """How many utterances are the main's, and how many differ by more than a near tie; None for an assistant that
        speaks for itself. Beside it our engine's counters, and whether they are those of the offline account."""
        found: dict[str, Any] = dict.fromkeys(
            ("identical", "unexplained", "rounds", "drafted_rounds", "drafted", "accepted", "counters_equal")
        )
        if contender.mode == "assistant":
            return found
        differing = [i for i, said in enumerate(spoken) if said.tokens != self.timed.tokens[i]]
        found["identical"] = len(spoken) - len(differing)
        found["unexplained"] = sum(not self._near_tie(i, spoken[i].tokens) for i in differing)
        if contender.mode == "speculative":
            decoded = [said.decoded for said in spoken]
            found |= {name: sum(getattr(d, name) for d in decoded) for name in ("rounds", "drafted", "accepted")}
            found["drafted_rounds"] = sum(count > 0 for d in decoded for count in d.drafted_per_round)
            if contender.assistant == "ours" and isinstance(contender.draft_tokens, int):
                found["counters_equal"] = sum(
                    list(zip(d.drafted_per_round, d.accepted_per_round, strict=True))
                    == accepted_per_round(match, contender.draft_tokens)
                    for d, match in zip(decoded, self.timed.matches, strict=True)
                )
        return found

    def _near_tie(self, index: int, tokens: list[int]) -> bool:
        key = (index, *tokens)
        if key not in self.ties:
            difference = self.witness.difference(self.timed.rows[index], self.timed.tokens[index], tokens)
            self.ties[key] = difference["near_tie"]
        return self.ties[key]


def _parts(
    contender: Contender,
    timing: Timing,
    spoken: Sequence[Spoken],
    sizes: list[int],
    heard: dict[str, float],
    costs: dict[int, Costs],
    batch_size: int,
) -> dict[str, float] | None:
    """Where a pass's seconds go. The encoder is timed by itself, beside the rest; draft and verification are the
    rounds that were run, at the cost measured for the rows still active in each; the rest is what remains (prefixes,
    the host's work, transfers). Told for fixed draft lengths of our engine alone."""
    judged = contender.mode == "speculative" and contender.assistant == "ours" and contender.schedule == "constant"
    if not (judged or (contender.engine, contender.mode) == ("pair", "greedy")):
        return None
    count = contender.draft_tokens or 0
    one, full = costs[1], costs[batch_size]
    draft = verification = 0.0
    decoded = iter(said.decoded for said in spoken)
    for size in sizes:
        rounds = [next(decoded).rounds for _ in range(size)]
        for number in range(max(rounds)):
            active = sum(rows > number for rows in rounds)
            here = one if active == 1 else full if active == batch_size else blend(one, full, active)
            draft += count * here.draft
            verification += between(here.verify, count)
    encoder = heard["main"] + (heard.get("assistant", 0.0) if judged else 0.0)
    rest = timing.seconds - encoder - draft - verification
    return {"encoder": encoder, "draft": draft, "verification": verification, "rest": rest}
