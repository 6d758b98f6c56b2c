"""Whether a main writes timestamps, found out from the first windows where it is not recorded.

A Whisper that was fine-tuned without timestamp tokens writes wrong text when they are requested, and its weights do
not show that. One that knows them writes nearly the same text with them as without. So a few windows are decoded both
ways: where the texts agree, the main writes timestamps; where they do not, the way with the higher likelihood decides.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import SequenceMatcher
from statistics import median
from typing import TYPE_CHECKING

from ..decoding import Decoded, Options
from .recording import Recording, Window

if TYPE_CHECKING:
    from ..pair import Pair

LOOKED_AT = 4  # windows, spread over a recording
LEAST = 3  # tokens of text in all of them; fewer decide nothing
AGREE = 0.6  # share of equal tokens from which two texts are the same but for details; stock Whispers reach 0.9


def writes_timestamps(pair: "Pair", recording: Recording, options: Options) -> bool | None:
    """Whether the main writes timestamps in speech like this; None where there is too little speech."""
    if not pair.engine.special.timestamps:
        return False
    features = []
    for window in spread(recording):
        with suppress(Exception):  # of a damaged file, which is reported in its own turn
            features.append(window.features())
    if not features:
        return None
    without = Options(
        language=options.language, task=options.task, batch_size=len(features), draft_tokens=0, log_probabilities=True
    )
    plain = pair.engine.decode(features, without)
    stamped = pair.engine.decode(features, replace(without, timestamps=True))
    texts = [[pair.engine.special.text(row.tokens) for row in rows] for rows in (plain, stamped)]
    if max(sum(map(len, texts[0])), sum(map(len, texts[1]))) < LEAST:
        return None
    return agreement(*texts) >= AGREE or mean_log_probability(stamped) > mean_log_probability(plain)


def spread(recording: Recording) -> list[Window]:
    """Windows of a recording, spread over its length."""
    count = min(LOOKED_AT, -(-recording.frames // recording.size))
    return [recording.window_at(number * recording.frames // count) for number in range(count)]


def agreement(some: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> float:
    """The share of tokens that two texts have in common, in order: 2 x common / all; the median of several pairs.

    One window may well repeat itself without end; most do not.
    """
    return median(
        SequenceMatcher(None, one, other, autojunk=False).ratio() for one, other in zip(some, others, strict=True)
    )


def mean_log_probability(rows: Sequence[Decoded]) -> float:
    """Of all tokens of some windows."""
    total = sum((row.mean_log_probability or 0.0) * len(row.tokens) for row in rows)
    return total / max(1, sum(len(row.tokens) for row in rows))
