"""The disk that a stage fills, from shapes and counts, and its refusal where there is less."""

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..config import Optimization
from ..errors import InputError


def training_bytes(module, saved, saved_as, settings: Optimization) -> int:
    """Disk of resumable states and best checkpoints while `module` trains and `saved` is what a checkpoint holds.

    `saved_as`: the torch dtype in which it does.
    """
    weights = sum(p.numel() * p.element_size() for p in _each(module.parameters()))
    whole = sum(p.numel() * saved_as.itemsize for p in _each(saved.parameters()))
    moments = 2 * sum(p.numel() * p.element_size() for p in _each(module.parameters()) if p.requires_grad)
    # one more of each while it is written, and the best of all beside those that the states count on
    return (settings.keep + 1) * (weights + moments) + (settings.keep + 2) * whole


def cache_bytes(frames: int, model_config, bytes_each: int = 2) -> int:
    """Disk of a frozen encoder's states of so many frames; of `bytes_each` a number, half precision by default."""
    return frames * model_config.d_model * bytes_each


def _each(parameters: Iterable) -> list:
    """Tied ones once."""
    return list({id(p): p for p in parameters}.values())


def require_disk(work: Path, needed: int, fix: str, *also: Path) -> None:
    """InputError where the disk of a stage's work folder has less than it needs beyond what is there already, and in
    the folders `also`."""
    if not needed:
        return
    there = work
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    present = sum(_occupied(folder) for folder in (work, *also))
    if needed - present > free:
        raise InputError(
            f"output {work.parent}: {work.stem} needs about {gigabytes(needed - present)} more on disk, where "
            f"{gigabytes(free)} are free; make room, choose an output on another disk, or set {fix}."
        )


def _occupied(folder: Path) -> int:
    """Bytes on disk, which are fewer than the length of a sparse file."""
    found = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # gone since
            about = file.stat()
            found += about.st_blocks * 512 if hasattr(about, "st_blocks") else about.st_size  # Windows counts no blocks
    return found


def gigabytes(count: int) -> str:
    """Bytes in words: 1.2 GB, 3.4 MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
