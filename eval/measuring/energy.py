"""Joules that a GPU spends, as NVIDIA's management library counts them (NVML, from Volta on)."""

from collections.abc import Callable

import torch


def joule_counter(device: torch.device) -> Callable[[], float] | None:
    """Reads the joules spent since the driver was loaded; None where no such counter can be read."""
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
