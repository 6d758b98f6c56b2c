"""Is the pair's output the main's own? In float32 it must be, token for token.

In half precision, checking several tokens at once rounds differently from one at a time, so a near tie can flip: each
difference is told with its place and the gap between the main's two likeliest tokens there. A gap beyond twice the
noise of the logits, measured as what batching alone changes, is no tie but a fault.
"""

from dataclasses import replace
from typing import Any

import torch

from whisper_pair.audio import LogMel
from whisper_pair.data import Clip
from whisper_pair.decoding import Engine, Options


def identity_section(heard, clips: list[Clip], main, log_mel: LogMel, options: Options) -> dict[str, Any]:
    """The report's `identity`, over our assistant's pair."""
    differing = [
        row
        for row, (decoded, tokens) in enumerate(zip(heard.pair["ours"], heard.main, strict=True))
        if decoded.tokens != tokens
    ]
    found = [_difference(row, heard, clips, main, log_mel, options) for row in differing]
    ties = [d for d in found if main.dtype != torch.float32 and d["gap"] <= 2 * d["noise"]]
    section = {
        "utterances": len(clips),
        "identical": len(clips) - len(differing),
        "near_ties": len(ties),
        "unexplained": len(found) - len(ties),
        "differences": found,
    }
    if main.dtype != torch.float32:
        section["batch_1_against_8"] = _changed_by_batching(main, clips, log_mel, options)
    return section


def _difference(row: int, heard, clips: list[Clip], main, log_mel: LogMel, options: Options) -> dict[str, Any]:
    ours, plain = heard.pair["ours"][row].tokens, heard.main[row]
    place = next((i for i, (a, b) in enumerate(zip(ours, plain, strict=False)) if a != b), min(len(ours), len(plain)))
    gap, noise = _gap_and_noise(main, clips[row], log_mel, [*heard.pair["ours"][row].prompt, *plain[:place]])
    return {"clip": clips[row].name, "position": place, "gap": gap, "noise": noise}


@torch.no_grad()
def _gap_and_noise(main, clip: Clip, log_mel: LogMel, tokens: list[int]) -> tuple[float, float]:
    """The two likeliest tokens' distance after `tokens`, and the largest change of a logit between batch 1 and 8."""
    features = log_mel(log_mel.pad([clip.read()]).to(main.device)).to(main.dtype)
    ids = torch.tensor([tokens], device=main.device)
    one = main(input_features=features, decoder_input_ids=ids).logits[0, -1].float()
    eight = main(input_features=features.repeat(8, 1, 1), decoder_input_ids=ids.repeat(8, 1)).logits[0, -1].float()
    best, second = one.topk(2).values.tolist()
    return best - second, float((one - eight).abs().max())


def _changed_by_batching(main, clips: list[Clip], log_mel: LogMel, options: Options) -> int:
    """How many clips plain greedy decodes differently at batch 1 and 8: rounding alone, no speculation."""
    engine = Engine(main)

    def features():
        return (log_mel(log_mel.pad([clip.read()]))[0] for clip in clips)

    one = engine.decode(features(), replace(options, batch_size=1, draft_tokens=0))
    eight = engine.decode(features(), replace(options, batch_size=8, draft_tokens=0))
    return sum(a.tokens != b.tokens for a, b in zip(one, eight, strict=True))
