"""The windows to come. On CUDA they may be encoded beside the rounds, on a stream of their own.

The encoder is bound by arithmetic and a round by memory, so they share a GPU well. What a window needs of the device
before it can be decoded is its encoder states; its cross-attention keys and values are written where another row's
were, and so after that row's last round, with the rounds.
"""

from collections.abc import Iterator
from functools import cache

import torch

from .rows import Row


class Upcoming:
    """Rows in the order of their windows, drawn as they are needed, or one ahead: with it a batch is encoded."""

    def __init__(self, rows: Iterator[Row], stream: "torch.cuda.Stream | None" = None):
        self.rows, self.stream = rows, stream  # stream None: encode where the rounds run, when a row is needed
        self._drawn: list[Row] = []  # the one ahead
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream(stream.device))  # features may still be on their way

    def take(self, count: int) -> list[Row]:
        """The next rows: so many, or all that are left."""
        rows, self._drawn = self._drawn[:count], self._drawn[count:]
        while len(rows) < count and (row := self._draw()) is not None:
            rows.append(row)
        if self.stream is not None and rows:
            current = torch.cuda.current_stream(self.stream.device)
            current.wait_stream(self.stream)
            for row in rows:
                for states in (row.states, row.draft_states):
                    states.record_stream(current)  # or their memory would be reused while rounds' stream reads it
        return rows

    def draw_ahead(self) -> None:
        """Draw the next row, and so encode its batch, while a round is on its way; nothing without a stream."""
        if self.stream is not None and not self._drawn and (row := self._draw()) is not None:
            self._drawn.append(row)

    def _draw(self) -> Row | None:
        if self.stream is None:
            return next(self.rows, None)
        with torch.cuda.stream(self.stream):
            return next(self.rows, None)


@cache
def stream_beside(device: torch.device) -> "torch.cuda.Stream":
    """One for all engines: cuBLAS keeps a workspace of tens of megabytes for every stream that it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own stub
