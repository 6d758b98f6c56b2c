"""The cost model: what a round costs here, what that predicts for each draft length and batch, what would change it.

With c the assistant's time for one token and v(g) the main's for g + 1, both over the main's for one, decoding with g
drafts a round is tau / (g c + v) times as fast (2211.17192, Theorem 3.8, for v = 1). End to end the encoder, which no
draft makes faster, dilutes this (Amdahl): with e its share of a greedy pass, 1 / (e + (1 - e) / predicted).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_pair.decoding import Costs, Engine, coarse, predicted_speedup
from whisper_pair.report import (
    AcceptanceRow,
    AssistantAcceptance,
    BatchPrediction,
    CostSection,
    EncoderSeconds,
    Prediction,
    PredictionSection,
    SpeedRow,
    SpeedSection,
    WhatIf,
)

TIMES = 3  # apart from each other, so that a busy minute does not decide


def steady_costs(engine: Engine, batch_sizes: Sequence[int], frames: int | None = None) -> dict[int, Costs]:
    """The least of several measurements of each piece: what disturbs a clock only ever adds. The engine's "auto" goes
    by them from then on, over windows of about so many `frames`; None: full ones."""
    found: dict[int, list[Costs]] = {batch_size: [] for batch_size in batch_sizes}
    for _ in range(TIMES):
        engine.forget_costs()
        for batch_size in sorted(batch_sizes, reverse=True):  # the largest first: its caches serve the others
            found[batch_size].append(engine.costs(batch_size, frames=frames))
    steady = {batch_size: Costs.least(several) for batch_size, several in found.items()}
    length = None if frames is None else coarse(frames, engine.encoders.frames)
    for batch_size, costs in steady.items():
        engine.round_times.learn(batch_size, False, costs.times, length)
    return steady


def cost_section(costs: Costs) -> CostSection:
    """c and v at one batch size."""
    return {
        "batch_size": costs.batch_size,
        "cost_ratio": costs.cost_ratio,
        "assistant_speedup": 1 / costs.cost_ratio,
        "draft_milliseconds": 1000 * costs.draft,
        "main_milliseconds": 1000 * costs.verify[0],
        "verification": {str(count): costs.verification(count) for count in range(17)},
    }


def prediction_section(
    costs: dict[int, Costs], acceptance: AssistantAcceptance, speed: SpeedSection
) -> PredictionSection:
    """The judged pair's predictions for each batch size beside what was measured, and the best setting of each."""
    batches = [_batch(costs[encoder["batch_size"]], encoder, acceptance, speed["rows"]) for encoder in speed["encoder"]]
    return {"by_batch_size": batches, "what_if": what_if(costs, acceptance["by_draft_tokens"], batches[0])}


def _batch(
    costs: Costs, encoder: EncoderSeconds, acceptance: AssistantAcceptance, rows: Sequence[SpeedRow]
) -> BatchPrediction:
    here = [row for row in rows if row["batch_size"] == costs.batch_size and row["engine"] == "pair"]
    greedy = next(row["seconds"] for row in here if row["mode"] == "greedy")
    measured = {row["draft_tokens"]: row for row in here if row["mode"] == "speculative" and row["assistant"] == "ours"}
    share, extra = encoder["main"] / greedy, (encoder["assistant"] or 0.0) / greedy
    predictions: list[Prediction] = []
    for row in acceptance["by_draft_tokens"]:
        count = row["draft_tokens"]
        timed = measured.get(count)
        decoding = predicted_speedup(row["mean_accepted_length"], count, costs.cost_ratio, costs.verification(count))
        predictions.append(
            {
                "draft_tokens": count,
                "decoding": decoding,
                "end_to_end": diluted(decoding, share, extra),
                "measured": timed["speedup"] if timed else None,
                "measured_interval": timed["speedup_interval"] if timed else None,
            }
        )
    best, gain = best_of(predictions)
    return {
        **cost_section(costs),
        "encoder_share": share,
        "assistant_encoder_share": extra,
        "predictions": predictions,
        "best_draft_tokens": best,
        "best_end_to_end": gain,
    }


def best_of(predictions: Sequence[Prediction]) -> tuple[int, float]:
    """The best draft length and its speedup; 0 where greedy is faster. What was timed decides; the prediction, which
    rests on a few milliseconds' measurement, only where nothing was."""
    timed = [(p["measured"], p["draft_tokens"]) for p in predictions if p["measured"] is not None]
    gains = timed or [(p["end_to_end"], p["draft_tokens"]) for p in predictions]
    gain, count = max(gains, key=lambda pair: pair[0])
    return (count, gain) if gain > 1 else (0, 1.0)


def diluted(decoding: float, encoder_share: float, extra_share: float = 0.0) -> float:
    """End-to-end speedup: the encoder's share of a greedy pass stays, an assistant's own encoder comes on top."""
    return 1 / (min(encoder_share, 1.0) + extra_share + max(0.0, 1 - encoder_share) / decoding)


@dataclass(frozen=True)
class Scenario:
    """What decides the speedup at one batch size, as measured or changed."""

    costs: Costs
    encoder_share: float  # the encoder's, of a greedy pass
    extra_share: float  # the same of an assistant's own encoder
    cost_ratio: float
    recovered: float = 0.0  # the share of rejections, at each position given all before it, that become acceptances
    free_checks: bool = False  # drafts are verified at the cost of one token

    def speedup(self, row: AcceptanceRow) -> tuple[float, float, int]:
        """(end to end, of decoding, draft length)"""
        count = row["draft_tokens"]
        verification = 1.0 if self.free_checks else self.costs.verification(count)
        length = improved_length(row["position_conditional"], self.recovered)
        decoding = predicted_speedup(length, count, self.cost_ratio, verification)
        return diluted(decoding, self.encoder_share, self.extra_share), decoding, count


def what_if(costs: dict[int, Costs], rows: Sequence[AcceptanceRow], batch: BatchPrediction) -> list[WhatIf]:
    """The first timed batch's best prediction if one thing were better."""
    here = costs[batch["batch_size"]]
    now = Scenario(here, batch["encoder_share"], batch["assistant_encoder_share"], here.cost_ratio)
    cases = {
        "as measured": now,
        "a draft twice as fast": replace(now, cost_ratio=here.cost_ratio / 2),
        "a tenth of the rejections gone": replace(now, recovered=0.1),
        "half of the rejections gone": replace(now, recovered=0.5),
        "drafts verified at the cost of one token": replace(now, free_checks=True),
    }
    if now.extra_share:
        cases["the main's encoder shared"] = replace(now, extra_share=0.0)
    return [_best_case(name, case, rows) for name, case in cases.items()]


def _best_case(name: str, case: Scenario, rows: Sequence[AcceptanceRow]) -> WhatIf:
    end_to_end, decoding, count = max(map(case.speedup, rows))
    return {"case": name, "draft_tokens": count, "decoding": decoding, "end_to_end": end_to_end}


def improved_length(conditional: Sequence[float], recovered: float) -> float:
    """tau = 1 + the sum of the joint acceptances, each conditional one raised by `recovered` of its distance to 1."""
    joint, length = 1.0, 1.0
    for share in conditional:
        joint *= share + (1 - share) * recovered if share else 0.0
        length += joint
    return length
