"""What the cells of a row mean: its text, its audio, and which part of the audio it is.

A cell of the wrong kind is a ValueError whose message says what it is; only its own row is lost.
"""

import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, SupportsFloat

import numpy as np

SLACK = 0.1  # seconds by which a stated length may differ from the audio's

BEGINS = frozenset({"offset", "start", "begin", "start_time", "begin_time", "start_seconds"})
ENDS = frozenset({"end", "stop", "end_time", "stop_time", "end_seconds"})
LENGTHS = frozenset({"duration", "duration_seconds"})
CHANNELS = frozenset({"channel"})
RATES = frozenset({"sampling_rate", "sample_rate", "samplerate", "sr"})

Role = Literal["audio", "text", "speaker", "begin", "end", "length", "channel", "rate"]
Cells = Mapping[Role, object]  # the cells of one row by what they mean
ROLES: dict[Role, frozenset[str]] = {
    "begin": BEGINS,
    "end": ENDS,
    "length": LENGTHS,
    "channel": CHANNELS,
    "rate": RATES,
}


def text_in(value: object, column: str) -> str | None:
    """The text of a cell; None where it is empty, as null or as pandas' NaN. Whole numbers become their digits."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{column} is not text but {_kind(value)}")


def name_in(value: object, column: str) -> str | None:
    """A speaker's name or number."""
    return str(value) if isinstance(value, float | bool) and value == value else text_in(value, column)


def _kind(value: object) -> str:
    kinds: dict[type, str] = {
        bool: "true or false",
        float: "a number with a fraction",
        list: "a list",
        dict: "keys and values",
    }
    return kinds.get(type(value), f"of type {type(value).__name__}")


# Parts of an audio file


@dataclass(frozen=True, slots=True)
class Segment:
    """Which part of its audio a row is, in seconds.

    Kinds: "part", to be cut out of the audio; "cut already", of a row with audio of its own, whose columns may say
    where that was cut from; "length", where the row gives nothing but a length, perhaps rounded.
    """

    begin: float
    end: float | None  # None: the audio's end
    kind: Literal["part", "cut already", "length"]

    def within(self, length: float) -> tuple[float, float]:
        """(start, seconds) in audio of `length` seconds. Raises ValueError where it does not fit in it."""
        end = length if self.end is None else self.end
        stated = f"{self.begin:g} to {end:g} s"
        outside = end > length + SLACK or self.begin >= length
        if self.kind != "part":
            if abs(end - self.begin - length) <= SLACK or (outside and self.kind == "cut already"):
                return 0.0, length
            raise ValueError(
                f"its columns say {stated} of audio of {length:.1f} s; set segments: true to cut, or false"
            )
        if outside:
            raise ValueError(f"its segment, {stated}, ends after its audio of {length:.1f} s")
        return self.begin, min(end, length) - self.begin


def segment_in(cells: Cells, listed: bool, segments: bool | None) -> Segment | None:
    """The segment that a row's cells "begin", "end" and "length" give; None where they give none.

    `listed`: its audio is a file that other rows may name too; `segments`: the source's setting. Raises ValueError for
    cells that contradict each other or are no seconds.
    """
    begin, end, length = (_seconds(cells, role) for role in ("begin", "end", "length"))
    if segments is False or (begin is None and end is None and length is None):
        return None
    lone = "begin" not in cells and "end" not in cells
    if lone and segments is None:
        return Segment(0.0, length, "length") if listed else None
    first = begin or 0.0
    last = end if end is not None else None if length is None else first + length
    if last is not None and last <= first:
        raise ValueError(f"its segment ends at {last:g} s, before it begins")
    if end is not None and length is not None and abs(first + length - end) > SLACK:
        raise ValueError(f"its segment of {length:g} s is not between {first:g} and {end:g} s")
    return Segment(first, last, "part" if listed or segments else "cut already")


def _seconds(cells: Cells, role: Role) -> float | None:
    value = cells.get(role)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seconds = float(value) if isinstance(value, str | SupportsFloat) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError) as error:
        raise ValueError(f"its {role} is not a number of seconds") from error
    if isinstance(value, float) and math.isnan(value):
        return None  # an empty cell, as pandas writes it
    if not 0 <= seconds < math.inf:
        raise ValueError(f"its {role} is not a number of seconds")
    return seconds


def channel_in(value: object) -> str | None:
    """The channel that a row names, as it is written; None where it names none."""
    empty = value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()
    return None if empty else str(value).strip()[:20]


def roles(columns: Iterable[str], taken: Iterable[int]) -> dict[Role, list[int]]:
    """Where the columns stand that choose a part of the audio; `taken`: columns that have a meaning already."""
    found: dict[Role, list[int]] = {}
    taken = set(taken)
    for i, name in enumerate(columns):
        role = next((role for role, names in ROLES.items() if folded(name) in names), None)
        if role is not None and i not in taken:
            found.setdefault(role, []).append(i)
    return found


def folded(name: str) -> str:
    """A column's name without what differs between writers: case, a byte order mark, spaces and hyphens."""
    return re.sub(r"[\s\-]+", "_", name.replace("\ufeff", "").strip()).casefold()


# Audio within a cell


def audio_in(value: object, rate: object) -> bytes | str | None:
    """A file's bytes, a path, or None for an empty cell; numbers become the bytes of a WAV file.

    `value`: bytes, a path, {"bytes", "path"}, {"array", "sampling_rate"}, or a list of samples at `rate` Hz. Raises
    ValueError for anything else.
    """
    if isinstance(value, dict):
        if value.get("array") is not None:
            own = value.get("sampling_rate", value.get("sample_rate"))
            return _wav(value["array"], rate if own is None else own)
        value = value["bytes"] if value.get("bytes") is not None else value.get("path")
    if value is None or isinstance(value, bytes | str):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, list | tuple | np.ndarray):
        return _wav(value, rate)
    raise ValueError(f"its audio is {_kind(value)}")


def _wav(values: object, rate: object) -> bytes:
    import soundfile

    if isinstance(rate, str) and rate.strip().isdecimal():
        rate = int(rate)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or rate != rate or not 1_000 <= rate <= 768_000:
        raise ValueError("its audio is numbers without their rate; give it in a column sampling_rate, in Hz")
    try:
        samples = np.asarray(values)
        whole = samples.dtype.kind in "iu"
        samples = samples.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError("its audio is a list of something else than numbers") from error
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T  # [samples, channels]
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise ValueError("its audio is not a list of samples")
    peak = float(np.abs(samples).max())
    if whole or (peak > 8 and (samples == np.rint(samples)).all()):  # integers, some of which were made floats
        samples = samples / (2**15 if peak <= 2**15 else 2**31)
    out = io.BytesIO()
    soundfile.write(out, samples.astype(np.float32), round(rate), format="WAV", subtype="FLOAT")
    return out.getvalue()
