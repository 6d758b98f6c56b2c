"""CUDA graphs: a function of tensors, captured once a key and replayed. On the CPU the function is simply called."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

Output = TypeVar("Output")  # a tensor, or a tuple of some
MOST_GRAPHS = 256  # kept at once: each holds some megabytes of launches; the one longest unused goes first


class Captured(NamedTuple):
    """A graph and the memory that it reads and writes."""

    replay: Callable[[], None]
    inputs: tuple[Tensor, ...]  # to be written before a replay
    output: Any  # to be read after it


class Graphs:
    """All graphs share one memory pool, so a replay may overwrite what any other graph left: read a result first."""

    def __init__(self, device: torch.device, enabled: bool):
        self.device, self.enabled = device, enabled
        self.captures = 0  # so far
        self._captured: OrderedDict[Hashable, Captured] = OrderedDict()
        self._pool: Any = None  # a handle, whose type torch does not export

    def __call__(self, key: Hashable, function: Callable[..., Output], *inputs: Tensor) -> Output:
        """function(*inputs). What the function reads besides its inputs must stay where it is between calls with one
        key, and shapes must follow from the key. The next call with any key may overwrite the result."""
        if not self.enabled:
            return function(*inputs)
        if key not in self._captured:
            self._captured[key] = self._capture(function, inputs)
            self.captures += 1
            if len(self._captured) > MOST_GRAPHS:
                self._captured.popitem(last=False)
        self._captured.move_to_end(key)
        captured = self._captured[key]
        for held, value in zip(captured.inputs, inputs, strict=True):
            held.copy_(value, non_blocking=True)
        captured.replay()
        output: Output = captured.output
        return output

    def _capture(self, function: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Captured:
        with torch.cuda.device(self.device):
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            stream = capture_stream(self.device)
            held = tuple(value.clone() for value in inputs)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(2):  # workspaces, lazily loaded kernels and compiled code must exist before capture
                    function(*held)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            try:  # thread_local: other threads may allocate meanwhile without breaking this capture
                with torch.cuda.graph(graph, self._pool, stream, capture_error_mode="thread_local"):
                    output = function(*held)
            except RuntimeError as error:
                error.add_note("while capturing a round as a CUDA graph; Engine(graphs=False) decodes without")
                raise
        return Captured(graph.replay, held, output)

    def clear(self) -> None:
        """Forget all: what the graphs read or write is about to move."""
        self._captured.clear()
        self._pool = None


@cache
def capture_stream(device: torch.device) -> "torch.cuda.Stream":
    """One for all engines: cuBLAS keeps a workspace of tens of megabytes for every stream that it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own stub
