"""Is the pair's output the main's own? In float32 it must be, token for token.

In half precision, checking several tokens at once rounds differently from one at a time, so a near tie can flip: each
difference is reported with its position and the gap between the main's two most likely tokens there. A gap beyond twice
the noise of the logits, measured as what batching alone changes, is no tie but a bug.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from transformers import WhisperForConditionalGeneration

from whisper_pair.audio import LogMel
from whisper_pair.data import Clip, features_of
from whisper_pair.decoding import Engine, Options, SpecialTokens, encoder_states
from whisper_pair.report import Difference, IdentitySection

from .decoded_clips import AssistantOutput
from .tokens import Pieces
from .windows import windows_of


@dataclass(frozen=True)
class NearTieCheck:
    """Computes again how certain the main was at a position."""

    main: WhisperForConditionalGeneration
    log_mel: LogMel
    clips: Sequence[Clip]
    prompts: Sequence[Sequence[int]]  # each clip's forced prefix
    pieces: Pieces
    margin: float | None = None  # seconds from a clip's end to that of its window; None: full windows

    @property
    def half(self) -> bool:
        """Is the main in half precision, where a near tie may go either way?"""
        return bool(self.main.dtype != torch.float32)

    @torch.no_grad()
    def top_two(self, row: int, tokens: Sequence[int]) -> tuple[list[int], float, float]:
        """The main's two most likely allowed tokens after `tokens`, their distance, and the logits' noise.

        Noise is the largest change of a logit between batch 1 and 8. Both come from transformers' modules, which share
        no code with the engine's.
        """
        special = SpecialTokens.of(self.main)
        features = features_of([self.clips[row]], self.log_mel, self.main.device).to(self.main.dtype)
        (window,) = windows_of(features, [self.clips[row]], self.margin)
        ids = torch.tensor([[*self.prompts[row], *tokens]], device=self.main.device)

        def logits(count: int) -> torch.Tensor:
            states = encoder_states(self.main.model.encoder, window.repeat(count, 1, 1))
            found = self.main(encoder_outputs=(states,), decoder_input_ids=ids.repeat(count, 1))
            return cast(torch.Tensor, found.logits[0, -1].float())

        one = logits(1)
        noise = float((one - logits(8)).abs().max())
        one[[*special.suppressed, *(() if tokens else special.suppressed_first)]] = -torch.inf
        values, likeliest = one.topk(2)
        return likeliest.tolist(), float(values[0] - values[1]), noise

    def difference(self, row: int, plain: Sequence[int], other: Sequence[int]) -> Difference:
        """The first position where two transcripts of a clip differ. A near tie explains it where the two tokens are
        the main's most likely and no further apart than twice the noise."""
        position = first_difference(plain, other)
        end = self.main.generation_config.eos_token_id
        one, two = (tokens[position] if position < len(tokens) else end for tokens in (plain, other))
        likeliest, gap, noise = self.top_two(row, plain[:position])
        return {
            "clip": self.clips[row].name,
            "position": position,
            "main": self.pieces(one),
            "other": self.pieces(two),
            "gap": gap,
            "noise": noise,
            "near_tie": {one, two} == set(likeliest) and gap <= 2 * noise,
        }


def first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    """The position of the first tokens that differ; the shorter one's length where it begins the longer one."""
    differing = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


def identity_section(
    plain: Sequence[Sequence[int]], output: AssistantOutput, near_tie: NearTieCheck, engine: Engine, options: Options
) -> IdentitySection:
    """`plain`: the main's own greedy output; `output`: with what the pair decoded; `engine`: any of the main."""
    found, ties = differences(plain, output, near_tie)
    return {
        "utterances": len(plain),
        "identical": len(plain) - len(found),
        "near_ties": ties,
        "unexplained": len(found) - ties,
        "batch_1_against_8": changed_by_batching(near_tie, engine, options) if near_tie.half else None,
        "differences": found,
    }


def differences(
    plain: Sequence[Sequence[int]], output: AssistantOutput, near_tie: NearTieCheck
) -> tuple[list[Difference], int]:
    """Where the pair's tokens first differ from the main's, and how many near ties explain: in float32 none."""
    ours = [decoded.tokens for decoded in output.pair]
    differing = [row for row, (one, other) in enumerate(zip(plain, ours, strict=True)) if one != other]
    found = [near_tie.difference(row, plain[row], ours[row]) for row in differing]
    return found, sum(difference["near_tie"] for difference in found) if near_tie.half else 0


def changed_by_batching(near_tie: NearTieCheck, engine: Engine, options: Options) -> int:
    """How many clips plain greedy decodes differently at batch 1 and 8: rounding alone, no speculation."""

    def features():
        return (features_of([clip], near_tie.log_mel)[0] for clip in near_tie.clips)

    one = engine.decode(features(), replace(options, batch_size=1, draft_tokens=0))
    eight = engine.decode(features(), replace(options, batch_size=8, draft_tokens=0))
    return sum(a.tokens != b.tokens for a, b in zip(one, eight, strict=True))
