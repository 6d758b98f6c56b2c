"""Where a pass's seconds go: encoder, draft, verification, and the rest.

The encoder is timed by itself, beside the pass; draft and verification are the rounds that were run, at the cost
measured for the rows still active in each; the rest is what remains (prefixes, the host's work, transfers). The three
are measured apart from the pass, so together they can exceed it; each is then scaled down alike, and nothing remains.
"""

from collections.abc import Sequence

from whisper_pair.decoding import Costs, between, blend
from whisper_pair.report import EncoderSeconds, Parts

from .contenders import Contender, Hypothesis


def parts_of(
    contender: Contender,
    seconds: float,
    found: Sequence[Hypothesis],
    sizes: Sequence[int],
    encoder: EncoderSeconds,
    costs: dict[int, Costs],
) -> Parts | None:
    """Of one pass that took `seconds`, in chunks of `sizes` clips. None where it is not known: only our engine's
    greedy and the judged pair at fixed draft lengths are accounted for, and a main alone has no costs."""
    ours = contender.mode == "speculative" and contender.assistant == "ours" and contender.schedule == "constant"
    if not costs or not (ours or (contender.engine, contender.mode) == ("pair", "greedy")):
        return None
    count = contender.draft_tokens if isinstance(contender.draft_tokens, int) else 0
    rounds = [hypothesis.decoded.rounds for hypothesis in found if hypothesis.decoded is not None]
    draft, verification = _decoding(rounds, sizes, count, costs[1], costs[encoder["batch_size"]])
    encoding = encoder["main"] + ((encoder["assistant"] or 0.0) if ours else 0.0)
    scale = min(1.0, seconds / (encoding + draft + verification))
    known = scale * encoding, scale * draft, scale * verification
    return {
        "encoder": known[0],
        "draft": known[1],
        "verification": known[2],
        "rest": max(0.0, seconds - sum(known)),
    }


def _decoding(rounds: Sequence[int], sizes: Sequence[int], count: int, one: Costs, full: Costs) -> tuple[float, float]:
    """Seconds of drafting and of verification. `rounds`: of each clip; `count`: drafts a round; `one` and `full`: the
    costs at batch 1 and at the pass's batch size."""
    draft = verification = 0.0
    remaining = iter(rounds)
    for size in sizes:
        chunk = [next(remaining) for _ in range(size)]
        for number in range(max(chunk)):
            active = sum(own > number for own in chunk)
            here = one if active == 1 else full if active == full.batch_size else blend(one, full, active)
            draft += count * here.draft
            verification += between(here.verify, count)
    return draft, verification
