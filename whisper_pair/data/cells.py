"""What the cells of a row mean: its text, its audio, and which part of the audio it is.

A cell that is not what it should be is a ValueError, whose message says what it is instead; the row is then the only
one that is lost.
"""

import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .tables import folded

SLACK = 0.1  # seconds by which a told length may differ from the audio's

BEGINS = frozenset({"offset", "start", "begin", "start_time", "begin_time", "start_seconds"})
ENDS = frozenset({"end", "stop", "end_time", "stop_time", "end_seconds"})
LENGTHS = frozenset({"duration", "duration_seconds"})
CHANNELS = frozenset({"channel"})
RATES = frozenset({"sampling_rate", "sample_rate", "samplerate", "sr"})
ROLES = {"begin": BEGINS, "end": ENDS, "length": LENGTHS, "channel": CHANNELS, "rate": RATES}


def text_in(value: Any, column: str) -> str | None:
    """None where the cell is empty, as null or as pandas' NaN. Whole numbers are the digits that were spoken."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{column} is no text but {_kind(value)}")


def name_in(value: Any, column: str) -> str | None:
    """A speaker's name or number."""
    return str(value) if isinstance(value, float | bool) and value == value else text_in(value, column)


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", float: "a number with a fraction", list: "a list", dict: "keys and values"}
    return kinds.get(type(value), f"of type {type(value).__name__}")


# Parts of an audio file


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a row says that it lies in its audio, in seconds, and how certain it is that it says so.

    part: it is cut out. cut already: the row has audio of its own, and may tell where that was cut from.
    length: nothing but a length is told, which may be rounded.
    """

    begin: float
    end: float | None  # None: the audio's end
    kind: Literal["part", "cut already", "length"]

    def within(self, length: float) -> tuple[float, float]:
        """(start, seconds) in audio of `length` seconds. Raises ValueError where it does not lie in it, or may not."""
        end = length if self.end is None else self.end
        told = f"{self.begin:g} to {end:g} s"
        outside = end > length + SLACK or self.begin >= length
        if self.kind != "part":
            if abs(end - self.begin - length) <= SLACK or (outside and self.kind == "cut already"):
                return 0.0, length
            raise ValueError(f"its columns tell {told} of audio of {length:.1f} s; set segments: true to cut, or false")
        if outside:
            raise ValueError(f"its segment, {told}, ends after its audio of {length:.1f} s")
        return self.begin, min(end, length) - self.begin


def segment_in(cells: Mapping[str, Any], listed: bool, asked: bool | None) -> Segment | None:
    """The segment that a row's cells `begin`, `end` and `length` tell. `listed`: its audio is a file that others may
    name too; `asked`: the source's `segments`. Raises ValueError for cells that tell none."""
    begin, end, length = (_seconds(cells.get(role), role) for role in ("begin", "end", "length"))
    if asked is False or begin is end is length is None:
        return None
    lone = "begin" not in cells and "end" not in cells
    if lone and asked is None:
        return Segment(0.0, length, "length") if listed else None
    first = begin or 0.0
    last = end if end is not None else None if length is None else first + length
    if last is not None and last <= first:
        raise ValueError(f"its segment ends at {last:g} s, before it begins")
    if end is not None and length is not None and abs(first + length - end) > SLACK:
        raise ValueError(f"its segment of {length:g} s does not lie between {first:g} and {end:g} s")
    return Segment(first, last, "part" if listed or asked else "cut already")


def _seconds(value: Any, role: str) -> float | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"its {role} is no number of seconds") from error
    if isinstance(value, float) and math.isnan(value):
        return None  # an empty cell, as pandas writes it
    if not 0 <= seconds < math.inf:
        raise ValueError(f"its {role} is no number of seconds")
    return seconds


def channel_in(value: Any) -> str | None:
    """The channel that a row asks for, as it is written; None where it asks for none."""
    empty = value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()
    return None if empty else str(value).strip()[:20]


def roles(columns: Iterable[str], taken: Iterable[int]) -> dict[str, list[int]]:
    """The columns that can change what a row means, by what they tell; `taken`: columns that have a meaning already."""
    found: dict[str, list[int]] = {}
    taken = set(taken)
    for i, name in enumerate(columns):
        role = next((role for role, names in ROLES.items() if folded(name) in names), None)
        if role is not None and i not in taken:
            found.setdefault(role, []).append(i)
    return found


# Audio within a cell


def audio_in(value: Any, rate: Any) -> bytes | str | None:
    """A file's bytes, or a path, or None for an empty cell; numbers become a WAV file's bytes.

    `value`: bytes, a path, {"bytes", "path"}, {"array", "sampling_rate"}, or a list of samples, whose rate is `rate`.
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


def _wav(values: Any, rate: Any) -> bytes:
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
        raise ValueError("its audio is a list of other things than numbers") from error
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T  # [samples, channels]
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise ValueError("its audio is no list of samples")
    peak = float(np.abs(samples).max())
    if whole or (peak > 8 and (samples == np.rint(samples)).all()):  # integers, some of which were made floats
        samples = samples / (2**15 if peak <= 2**15 else 2**31)
    out = io.BytesIO()
    soundfile.write(out, samples.astype(np.float32), round(rate), format="WAV", subtype="FLOAT")
    return out.getvalue()
