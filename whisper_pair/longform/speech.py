"""Where speech is in a recording, by Silero's voice activity detector (silero-vad on PyPI), so that long silence, music
and noise are not decoded: Whisper invents text there.
"""

import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch

from ..errors import InputError

GAP = 3.0  # seconds without speech that are left out; shorter pauses stay in their window
PAD = 0.4  # seconds that are kept before and after speech
CHUNK = 512  # samples that the detector takes at once


def speech(blocks: Iterable[np.ndarray], hop: int) -> list[tuple[int, int]]:
    """Samples at 16 kHz, in blocks [n] -> stretches of speech, each as (first frame, frame after the last).

    Raises InputError where the detector is not installed.
    """
    detector = _detector()
    found, begin, samples = [], None, 0
    for chunk in _chunks(blocks):
        samples += len(chunk)
        event = detector(torch.from_numpy(chunk)) or {}
        begin = event.get("start", begin)
        if "end" in event and begin is not None:
            found.append((begin // hop, -(-event["end"] // hop)))
            begin = None
    if begin is not None:
        found.append((begin // hop, -(-samples // hop)))
    return found


def refuse_missing_detector() -> None:
    """InputError where silero-vad is not installed."""
    if importlib.util.find_spec("silero_vad") is None:
        raise InputError("voice activity detection needs silero-vad: pip install 'whisper-pair[vad]'.")


def _detector() -> Any:
    from silero_vad import VADIterator

    return VADIterator(_model(), min_silence_duration_ms=int(1000 * GAP), speech_pad_ms=int(1000 * PAD))


@cache
def _model() -> Any:
    """Loaded once. The package leaves torch a single thread, which is undone."""
    threads = torch.get_num_threads()
    try:
        from silero_vad import load_silero_vad

        return load_silero_vad()
    finally:
        torch.set_num_threads(threads)


def _chunks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Pieces of CHUNK samples; the last one is filled up with zeros."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([rest, block.astype(np.float32, copy=False)])
        whole = len(held) // CHUNK * CHUNK
        yield from held[:whole].reshape(-1, CHUNK)
        rest = held[whole:]
    if len(rest):
        yield np.pad(rest, (0, CHUNK - len(rest)))
