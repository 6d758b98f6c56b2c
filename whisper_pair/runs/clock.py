"""Timing work on a device: a GPU runs it later than Python submits it, so the clock waits for the device."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def synchronize(device: "torch.device") -> None:
    """Waits for the work that was submitted to the device; a CPU has none left."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clocked(action: Callable[[], object], device: "torch.device") -> float:
    """Seconds of one call, the device's work included."""
    synchronize(device)
    start = time.perf_counter()
    action()
    synchronize(device)
    return time.perf_counter() - start
