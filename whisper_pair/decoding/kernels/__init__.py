"""A decoder layer's cached step in Triton kernels of our own. Imported by nobody who does not ask for them: see
`Decoder.use_kernels`. Each kernel stands beside its plain twin."""

import torch
import triton

from .layer import layer_forward

__all__ = ["layer_forward", "run_on"]


def run_on(device: torch.device) -> bool:
    """Can they? On CUDA; anywhere where Triton's TRITON_INTERPRET is set, to test them."""
    return device.type == "cuda" or bool(triton.knobs.runtime.interpret)
