"""What the benchmarks measure with: clocks, peak memory, FLOP, and the rate of a large matrix product."""

import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from whisper_pair.runs import synchronize

CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # which the counter does not know


def _sdpa_flop_count(query, key, value, *more, out_shape=None, **named) -> int:
    return sdpa_flop_count(query, key, value)


def flop_counter() -> FlopCounterMode:
    """Counts the FLOP of what runs inside; `get_total_flops()` returns them."""
    return FlopCounterMode(display=False, custom_mapping={CPU_ATTENTION: _sdpa_flop_count})


def peak_bytes(device: torch.device) -> int:
    """Of the device's tensors; on a CPU of the whole process, Python and libraries included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def clock_of(name: str) -> Callable[[], float]:
    """ "wall" or "cpu": seconds of this process on the CPU, for a machine that others use too."""
    return time.process_time if name == "cpu" else time.perf_counter


def timed(run: Callable[[], object], clock: Callable[[], float], device: torch.device) -> tuple[float, object]:
    """Seconds of a call, the device's work included, and its result."""
    synchronize(device)
    start = clock()
    result = run()
    synchronize(device)
    return clock() - start, result


def matmul_rate(device: torch.device, dtype: torch.dtype, clock: Callable[[], float] = time.perf_counter) -> float:
    """FLOP a second of a large square product."""
    size = 8192 if device.type == "cuda" else 1024
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    taken = []
    for _ in range(8):
        taken.append(timed(lambda: one @ other, clock, device)[0])
    return 2 * size**3 / statistics.median(taken[2:])
