"""What a stage's work took, kept beside its result: windows a second and the peak of memory.

A finished run so predicts the next one, and the large configs' headers and benchmarks/pipeline.py quote these figures.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .disk import gigabytes
from .estimate import peak_memory
from .files import write_json

WORK_FILE = "work.json"


@dataclass
class Throughput:
    """Batches of one process in turn. The first one warms up and is left out where others follow."""

    batches: int = 0
    windows: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def add(self, windows: int, tokens: int, seconds: float) -> None:
        """One batch: its windows and tokens, and the seconds that it took."""
        if self.batches == 1:  # the first one alone so far
            self.windows = self.tokens = 0
            self.seconds = 0.0
        self.windows += windows
        self.tokens += tokens
        self.seconds += seconds
        self.batches += 1

    def figures(self, processes: int = 1) -> dict[str, Any]:
        """Over all processes of the launch, which work alike."""
        memory, where = peak_memory()
        return {
            "batches": self.batches,
            "seconds_a_batch": self.seconds / max(1, self.batches - 1),
            "windows_per_second": processes * self.windows / self.seconds if self.seconds else 0.0,
            "tokens_a_window": self.tokens / self.windows if self.windows else 0.0,
            "peak_memory_bytes": memory,
            "memory_of": where,
            "processes": processes,
        }

    def save(self, folder: Path, processes: int = 1) -> None:
        """Writes `folder`/work.json, completely or not at all."""
        write_json(folder / WORK_FILE, self.figures(processes))

    def __str__(self) -> str:
        figures = self.figures()
        return (
            f"{figures['windows_per_second']:.3g} windows/s a process, {figures['seconds_a_batch']:.3g} s a batch, at "
            f"most {gigabytes(figures['peak_memory_bytes'])} of {figures['memory_of']} memory"
        )
