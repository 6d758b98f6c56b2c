"""capabilities.json: what a checkpoint was trained to do, beside its weights.

A Whisper that is fine-tuned without timestamp tokens forgets how to write them: asked for them, it writes wrong text.
Its weights do not show that, so training writes down what it taught. A checkpoint made elsewhere has no such file.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..config import LONGEST_MARGIN
from ..errors import InputError
from ..runs import write_json

CAPABILITIES_FILE = "capabilities.json"


@dataclass(frozen=True)
class ShortWindows:
    """Windows that end soon after their speech, as a main was trained on them."""

    share: float  # of its training steps, above 0, up to 1
    margin_low: float  # seconds from the end of the longest clip to the end of the window, drawn from low to high
    margin_high: float
    margin: float  # seconds that decoding adds after the end of the speech


@dataclass(frozen=True)
class Capabilities:
    """What a fine-tuned main, or its assistant, was trained to do."""

    timestamps: float  # share of its training windows whose target held timestamp tokens, 0 to 1
    previous_text: float  # share of its training windows that were prompted with the text before them, 0 to 1
    tasks: tuple[str, ...]  # "transcribe", "translate"
    languages: tuple[str, ...]  # Whisper's codes, such as "nl"
    short_windows: ShortWindows | None = None  # None: full windows alone, as every stock Whisper

    @property
    def writes_timestamps(self) -> bool:
        """Whether it may be asked for timestamps: it met them in training."""
        return self.timestamps > 0

    @property
    def takes_previous_text(self) -> bool:
        """Whether it may be prompted with the text before a window."""
        return self.previous_text > 0

    def save(self, folder: Path) -> None:
        """Writes `folder`/capabilities.json, completely or not at all."""
        write_json(folder / CAPABILITIES_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Capabilities | None":
        """What the file in `folder` says; None where there is none, so that nothing is known.

        Raises InputError for a file that cannot be read. Keys that this version does not know are left unread.
        """
        path = folder / CAPABILITIES_FILE
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            timestamps, previous_text = (_number(found[name], 1.0) for name in ("timestamps", "previous_text"))
            tasks, languages = (_texts(found[name]) for name in ("tasks", "languages"))
            short_windows = read_short_windows(found.get("short_windows"))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(
                f"{path}: expected the shares timestamps and previous_text (0 to 1), the lists tasks and languages, "
                "and short_windows (null, or a share above 0, and margin_low, margin, margin_high in rising seconds);"
                " train the checkpoint again, or remove the file where it is not known what the checkpoint can do."
            ) from error
        return cls(timestamps, previous_text, tasks, languages, short_windows)


def _number(found: object, most: float) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= most:
        raise ValueError(found)
    return float(found)


def read_short_windows(found: object) -> ShortWindows | None:
    """From JSON, null included. Raises ValueError, KeyError or TypeError for what it cannot be."""
    if found is None:
        return None
    if not isinstance(found, dict):
        raise ValueError(found)
    share = _number(found["share"], 1.0)
    low, high, margin = (_number(found[name], LONGEST_MARGIN) for name in ("margin_low", "margin_high", "margin"))
    if share == 0 or not low <= margin <= high:
        raise ValueError(found)
    return ShortWindows(share, low, high, margin)


def _texts(found: object) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(found)
    return tuple(found)
