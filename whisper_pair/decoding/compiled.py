"""A layer's function, compiled once a shape: weights are arguments, so one serves all layers (regional compilation).

A cold start is bounded. Compiling takes seconds a shape, so once it has taken `most` seconds in this process, shapes
that are new run plain, as all do where nothing can be compiled. Each of these is logged. What Inductor makes is kept in
its cache on disk, where the next process finds it.
"""

import logging
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

MOST_SECONDS = 60.0  # of compiling
LEAST_SECONDS = 0.05  # that it takes: what was faster was compiled before, for another shape
MOST_SHAPES = 512  # that torch may keep of one function
logger = logging.getLogger(__name__)


class CompiledLayer:
    """`function`, compiled."""

    def __init__(
        self,
        function: Callable[..., Tensor],
        name: str,  # of the layer, in the log
        dynamic: bool | None = False,  # may one compiled function serve several shapes? None: torch finds out
        backend: str | Callable[..., Any] = "inductor",
        most: float = MOST_SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.function, self.name, self.dynamic, self.backend = function, name, dynamic, backend
        self.most, self.clock = most, clock
        self.seconds = 0.0  # that compiling took so far
        self.failed = False
        self._chosen: dict[tuple[object, ...], Callable[..., Tensor]] = {}  # for each shape

    @cached_property
    def compiled(self) -> Callable[..., Tensor]:
        """The function, compiled for each shape that it meets. Set up when it is first needed, and not by an import."""
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_SHAPES)
        return torch.compile(self.function, dynamic=self.dynamic, fullgraph=True, backend=self.backend)

    def __call__(self, *given: Any) -> Tensor:
        """function(*given)"""
        shapes = shapes_of(given)
        if shapes in self._chosen:
            return self._chosen[shapes](*given)
        return self._first(shapes, *given)

    def _first(self, shapes: tuple[object, ...], *given: Any) -> Tensor:
        self._chosen[shapes] = self.function
        if self.failed:
            return self.function(*given)
        if self.seconds >= self.most:
            logger.info(
                "%s runs uncompiled for %s: compiling took %.0f s so far",
                self.name,
                tuple(given[0].shape),
                self.seconds,
            )
            return self.function(*given)
        begun = self.clock()
        try:
            result = self.compiled(*given)
        except Exception as error:  # a compiler may be missing or broken in many ways, and no window needs it
            self.failed = True
            logger.warning("%s runs uncompiled: %s", self.name, str(error).strip().splitlines()[0])
            return self.function(*given)
        taken = self.clock() - begun
        self._chosen[shapes] = self.compiled
        if taken > LEAST_SECONDS:
            self.seconds += taken
            logger.info("%s compiled for %s in %.1f s", self.name, tuple(given[0].shape), taken)
        return result


def shapes_of(given: tuple[object, ...]) -> tuple[object, ...]:
    """And strides: of the tensors given, and of those in tuples. What a compiled function depends on, with the shapes
    of a layer's weights, which follow from these."""
    found: list[object] = []
    for each in given:
        for one in each if isinstance(each, tuple) else (each,):
            if isinstance(one, Tensor):
                found.append((one.shape, one.stride(), one.dtype, one.device))
    return tuple(found)
