"""One real utterance, round by round: what was drafted, what the main accepted, and the main's own tokens."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whisper_pair.audio import LogMel
from whisper_pair.data import Clip
from whisper_pair.decoding import Decoded, Engine, Options, Round
from whisper_pair.report import Timeline, TimelineRound

from ..measuring import DRAFTS, Pieces

BARS = 240  # of the waveform


def typical_clip(pairs: Sequence[Decoded], clips: Sequence[Clip]) -> int:
    """The clip to show: about as often corrected as the set is, and long enough to show something."""
    rates = [decoded.accepted / max(1, decoded.drafted) for decoded in pairs]
    usual = sum(decoded.accepted for decoded in pairs) / max(1, sum(decoded.drafted for decoded in pairs))
    lengths = sorted(len(decoded.tokens) for decoded in pairs)
    long = lengths[len(lengths) // 2]
    fitting = [i for i, decoded in enumerate(pairs) if long <= len(decoded.tokens) <= max(48, long)]
    return min(fitting, key=lambda i: (abs(rates[i] - usual), clips[i].name))


def timeline_section(engine: Engine, clip: Clip, log_mel: LogMel, options: Options, pieces: Pieces) -> Timeline:
    """`peaks`: the waveform's greatest magnitude in each of BARS equal parts, over the greatest of all."""
    rounds: list[Round] = []
    samples = clip.read()
    options = replace(options, batch_size=1, draft_tokens=DRAFTS)
    features = log_mel.features([samples], engine.device)
    engine.decode(features, options, on_round=lambda _, step: rounds.append(step))
    peaks = np.array([np.abs(part).max(initial=0.0) for part in np.array_split(samples, BARS)])
    return {
        "clip": clip.name,
        "seconds": clip.seconds,
        "draft_tokens": DRAFTS,
        "peaks": [round(float(peak), 3) for peak in peaks / max(float(peaks.max()), 1e-9)],
        "rounds": [_round(step, pieces) for step in rounds],
    }


def _round(step: Round, pieces: Pieces) -> TimelineRound:
    return {
        "accepted": [pieces(token) for token in step.drafted[: step.accepted]],
        "rejected": [pieces(token) for token in step.drafted[step.accepted :]],
        "main": [pieces(token) for token in step.tokens[step.accepted :]],
    }
