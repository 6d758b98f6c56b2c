"""A card's section on the short windows that a main was trained on."""

import json
from dataclasses import dataclass
from pathlib import Path

from ..checkpoints import Capabilities, ShortWindows
from ..errors import InputError
from ..report import percent

CLIP = 4.0  # seconds, of the example


@dataclass(frozen=True)
class LearnedWindows:
    """What the main was trained on, and its error rates on the validation clips of that training, where known."""

    trained: ShortWindows
    metric: str | None = None  # "wer" or "cer"; None: the rates are not known
    full: float = 0.0
    short: float = 0.0


def learned_windows(main: Path) -> LearnedWindows | None:
    """What lies beside the main's weights says; None: full windows alone. Raises InputError for a damaged file."""
    found = Capabilities.load(main)
    if found is None or found.short_windows is None:
        return None
    file = main / "history.json"
    if not file.is_file():
        return LearnedWindows(found.short_windows)
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        best = next(entry for entry in record["history"] if entry["step"] == record["best_step"])
        name = next(name for name in best if name.startswith("validation_") and f"{name}_short" in best)
        metric, full, short = name.removeprefix("validation_"), float(best[name]), float(best[f"{name}_short"])
    except (OSError, ValueError, TypeError, KeyError, StopIteration) as error:
        raise InputError(f"{file}: is no record of a training on short windows; remove it, or train again.") from error
    return LearnedWindows(found.short_windows, metric, full, short)


def short_windows_section(learned: LearnedWindows) -> str:
    """Which windows were trained, the errors in either kind, and how other programs are given short ones."""
    from ..decoding import FRAMES_PER_SECOND, window_frames

    trained = learned.trained
    rates = ""
    if learned.metric is not None:
        rates = (
            f" {learned.metric.upper()} on the validation clips: {percent(learned.full)} in full windows,"
            f" {percent(learned.short)} in short ones."
        )
    frames = window_frames(CLIP, trained.margin, 30 * FRAMES_PER_SECOND)
    return (
        f"## Short windows\n\n{percent(trained.share)} of the steps of its training were on windows that end"
        f" {trained.margin_low:g} to {trained.margin_high:g} s after their speech, the others on Whisper's full ones of"
        f" 30 s.{rates} Whisper Pair therefore decodes short audio in windows that last at least {trained.margin:g} s"
        " longer than it, in a fraction of the time. transformers always takes full windows, and needs nothing."
        f" whisper.cpp is given a window's length in encoder frames, {FRAMES_PER_SECOND} a second:"
        f" `--audio-ctx {frames}` for audio of up to {frames / FRAMES_PER_SECOND - trained.margin:g} s."
    )
