"""Audio files of any kind -> float32 samples, mono, 16 kHz.

PyAV reads the files (see sound.py); no FFmpeg program is needed. Long files that are read in pieces stay open.
"""

import math
import os
from collections import Counter
from pathlib import Path

import numpy as np

from ..errors import InputError
from .channels import whole_numbers
from .log_mel import from_pcm
from .sound import SAMPLE_RATE, Sound, Source, total_seconds

KEPT_OPEN = 4  # long files that are read in pieces

Key = tuple[int, str, int, int, int]  # process, path, track, time of change, size
_open_files: dict[Key, Sound] = {}


def read_audio(
    source: Source, name: str | None = None, start: float = 0.0, seconds: float | None = None, track: int = 1
) -> np.ndarray:
    """Float32 samples [samples] in [-1, 1], mono, 16 kHz.

    `source`: a path, a part of a file or a file's bytes; `name`: for messages; `start` and `seconds`: the part to read;
    `track`: one of several audio tracks, counted from 1. Raises InputError where it cannot be decoded, is empty, or
    holds NaN.
    """
    first, count = round(start * SAMPLE_RATE), None if seconds is None else math.ceil(seconds * SAMPLE_RATE - 1e-6)
    key = _key(source, track) if first else None
    sound = (_open_files.pop(key, None) if key else None) or Sound(source, name, track)
    samples = sound.read(first, count)
    if key is None:
        sound.close()
    else:
        _keep_open(key, sound)
    if samples.size == 0:
        raise InputError(f"{sound.name}: the audio is empty.")
    return samples


def audio_seconds(source: Source, name: str | None = None) -> float:
    """Length in seconds of what can be decoded, whatever a header says. Raises InputError as `read_audio`."""
    frames: Counter[int] = Counter()
    with Sound(source, name) as sound:
        for block, rate in sound.native():
            frames[rate] += len(block)
    return total_seconds(frames)


def _key(source: Source, track: int) -> Key | None:
    """Names a file as it is now, in this process: a fork would share the position in the file."""
    try:
        found = os.stat(source) if isinstance(source, str | Path) else None
    except (OSError, ValueError):
        return None
    if found is None:
        return None
    return (os.getpid(), str(source), track, found.st_mtime_ns, found.st_size)


def _keep_open(key: Key, sound: Sound) -> None:
    """Keeps it for the next piece; a reader takes it out, so that no two threads share it."""
    _open_files[key] = sound
    while len(_open_files) > KEPT_OPEN:
        first = next(iter(_open_files), None)
        if first is not None and (oldest := _open_files.pop(first, None)):  # unless another thread took it
            oldest.close()


def as_floats(samples: np.ndarray) -> np.ndarray:
    """A caller's samples [n] -> float32 in [-1, 1]; 16-bit integers may come as floats."""
    if samples.dtype == np.int16:
        return from_pcm(samples)
    return samples.astype(np.float32) / np.float32(whole_numbers(samples))
