"""What the cards say of the short windows that a main was trained on."""

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
    """The main's: its training, its errors in either kind of windows, and how other programs take short ones."""
    rates = ""
    if learned.metric is not None:
        rates = (
            f" {learned.metric.upper()} on the validation clips: {percent(learned.full)} in full windows,"
            f" {percent(learned.short)} in short ones."
        )
    margin = learned.trained.margin
    return (
        f"## Short windows\n\n{_trained(learned.trained)}{rates} Whisper Pair therefore decodes short audio in windows"
        f" that last at least {margin:g} s longer than it, in a fraction of the time. {_elsewhere(margin)}"
    )


def drafting_section(learned: LearnedWindows) -> str:
    """The assistant's, which has no encoder of its own."""
    return (
        "## Short windows\n\nThe main was trained on windows that end soon after their speech. In such windows, which"
        f" last at least {learned.trained.margin:g} s longer than it, the assistant drafts over the main's states as in"
        " full ones."
    )


def standalone_section(learned: LearnedWindows) -> str:
    """The standalone Whisper's, whose encoder is the main's."""
    return (
        "## Short windows\n\nThe main, whose encoder this is, was trained on windows that end soon after their speech."
        f" The errors of this model alone in them were not measured. {_elsewhere(learned.trained.margin)}"
    )


def _trained(trained: ShortWindows) -> str:
    return (
        f"{percent(trained.share)} of the steps of its training were on windows that end {trained.margin_low:g} to"
        f" {trained.margin_high:g} s after their speech, the others on Whisper's full ones of 30 s."
    )


def _elsewhere(margin: float) -> str:
    """What other programs make of it."""
    from ..decoding import FRAMES_PER_SECOND, window_frames

    frames = window_frames(CLIP, margin, 30 * FRAMES_PER_SECOND)
    return (
        "transformers always takes full windows, and needs nothing. whisper.cpp is given a window's length in encoder"
        f" frames, {FRAMES_PER_SECOND} a second: `--audio-ctx {frames}` for audio of up to"
        f" {frames / FRAMES_PER_SECOND - margin:g} s."
    )
