"""CUDA graphs: a function of tensors, captured once a key and replayed. On the CPU the function is simply called."""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor


class Graphs:
    def __init__(self, enabled: bool):
        self.enabled = enabled
        self._captured: dict[Hashable, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle() if enabled else None

    def __call__(self, key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """function(*inputs). What the function reads besides its inputs must stay where it is between calls with one
        key, and shapes must follow from the key. The result is overwritten by the next call with the same key."""
        if not self.enabled:
            return function(*inputs)
        if key not in self._captured:
            self._captured[key] = self._capture(function, inputs)
        graph, places, output = self._captured[key]
        for place, value in zip(places, inputs, strict=True):
            place.copy_(value, non_blocking=True)
        graph.replay()
        return output

    def _capture(self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]):
        places = tuple(value.clone() for value in inputs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # cuBLAS workspaces and lazily loaded kernels must exist before capture
                function(*places)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = function(*places)
        return graph, places, output

    def clear(self) -> None:
        """Forget all: the caches that the graphs write to are about to move."""
        self._captured.clear()
        self._pool = torch.cuda.graph_pool_handle() if self.enabled else None
