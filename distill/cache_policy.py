"""What is worth caching on disk: reading is timed against computing again, on this disk and this device."""

import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whisper_pair.audio import LogMel
from whisper_pair.config import Distill
from whisper_pair.data import Window
from whisper_pair.decoding import encode, for_inference, shortened
from whisper_pair.errors import InputError
from whisper_pair.runs import clocked, write_json
from whisper_pair.training import WRITES, WindowCache
from whisper_pair.training.losses import TeacherTargets

from .teacher import DTYPES, Teacher, teacher_fields

WINDOWS, TOKENS = 4, 100  # that are timed: windows, and tokens of each

MOST_OF_THE_DISK = 0.5  # of what is free; more is cached only where the configuration says so


@dataclass(frozen=True)
class CachePolicy:
    """What is cached on disk, and why."""

    states: bool  # the encoder's
    teacher: bool  # teacher targets
    why: str

    @classmethod
    def chosen(
        cls, settings: Distill, main: Any, log_mel: LogMel, windows: Sequence[Window], frames: float, work: Path
    ) -> "CachePolicy":
        """As configured. `auto` is measured once and stored in `work`, the stage's work folder.

        `frames`: of the encoder, in a window, in the mean.
        """
        if settings.cache != "auto":
            return cls(
                settings.cache in ("states", "all"), settings.cache == "all", f"distill.cache is {settings.cache}"
            )
        file = work / "cache_policy.json"
        if file.is_file():
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        found = _measured(settings, main, log_mel, windows, math.ceil(frames), work)
        write_json(file, asdict(found))
        return found

    def __str__(self) -> str:
        kept = [name for name, on in (("encoder states", self.states), ("the main's distribution", self.teacher)) if on]
        return f"kept on disk: {' and '.join(kept) or 'nothing'} ({self.why})"


def _measured(
    settings: Distill, main: Any, log_mel: LogMel, windows: Sequence[Window], frames: int, work: Path
) -> CachePolicy:
    some = _readable(windows)
    width, dtype = main.config.d_model, DTYPES[settings.cache_dtype]
    encoder: Any = for_inference(main.model.encoder)
    device, teacher = main.device, Teacher(main, settings)

    def encode_windows() -> Tensor:
        features = log_mel.features([window.pcm()[: log_mel.samples] for window in some], device)
        return encode(encoder, shortened(features, frames))

    states = encode_windows()
    tokens = torch.zeros(len(some), min(TOKENS, main.config.max_target_positions), dtype=torch.long, device=device)

    def compute_targets() -> TeacherTargets:
        return teacher.targets(states, tokens, tokens, range(len(some)))

    of_states = _Disk({"states": (dtype, width)}, frames, len(some), work)
    of_teacher = _Disk(teacher_fields(settings, width), tokens.shape[1], len(some), work)
    free = shutil.disk_usage(work).free * MOST_OF_THE_DISK
    cached, reasons = [], []
    compared = (
        ("encoder states", encode_windows, of_states),
        ("the main's distribution", compute_targets, of_teacher),
    )
    for name, compute, disk in compared:
        computing, reading = _seconds(compute, device) / len(some), disk.seconds(device) / len(some)
        size = disk.bytes_a_window * len(windows)
        fits = size <= free
        free -= size if fits and reading < computing else 0
        cached.append(fits and reading < computing)
        reason = f"{1000 * computing:.1f} ms a window to compute, {1000 * reading:.1f} to read, {size / 1e9:.2f} GB"
        reasons.append(f"{name}: {reason}" + ("" if fits else f" of {free / 1e9:.2f} that may be filled"))
    return CachePolicy(cached[0], cached[1], "; ".join(reasons))


def _readable(windows: Sequence[Window]) -> list[Window]:
    """Up to WINDOWS windows, from the first ones whose audio can be read."""
    found: list[Window] = []
    for window in windows[: 8 * WINDOWS]:
        try:
            window.pcm()
        except InputError:
            continue
        found.append(window)
        if len(found) == WINDOWS:
            break
    if not found:
        raise InputError(f"data.train: none of the first {min(len(windows), 8 * WINDOWS)} windows' audio can be read.")
    return found


@dataclass(frozen=True)
class _Disk:
    """A small cache like the planned one, in the same place."""

    fields: dict[str, tuple[str, int]]
    rows: int
    windows: int
    work: Path

    @property
    def bytes_a_window(self) -> int:
        """Bytes on disk."""
        return self.rows * sum(getattr(torch, dtype).itemsize * width for dtype, width in self.fields.values())

    def seconds(self, device: torch.device) -> float:
        """To read all windows and copy them to the device; from the disk, not from memory, if the system allows it."""
        folder = self.work / "probe"
        shutil.rmtree(folder, ignore_errors=True)
        cache = WindowCache(folder, self.fields, [self.rows] * self.windows, {})
        for window in range(self.windows):
            cache.write(window, {name: torch.ones(self.rows, width) for name, (_, width) in self.fields.items()})
        WRITES.flush()

        def read() -> None:
            for window in range(self.windows):
                for tensor in (cache.read(window) or {}).values():
                    tensor.to(device)

        taken = _seconds(read, device, before=lambda: _forget(folder))
        shutil.rmtree(folder)
        return taken


def _seconds(action: Callable[[], object], device: torch.device, before: Callable[[], None] = lambda: None) -> float:
    """The best of three."""
    taken = []
    for _ in range(3):
        before()
        taken.append(clocked(action, device))
    return min(taken)


def _forget(folder: Path) -> None:
    """Has the system drop the shards from memory."""
    for path in folder.glob("shard-*"):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
