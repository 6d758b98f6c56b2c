"""labels.parquet: the main's transcripts of the training windows, one row a window."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from whisper_pair.runs import write_table

if TYPE_CHECKING:
    import pyarrow

LABELS_FILE = "labels.parquet"


@dataclass(frozen=True)
class LabelRow:
    """The main's transcript of one window. Its fields are the columns of the file."""

    window: int  # its number
    key: str  # Window.key
    clips: list[str]  # names of its clips
    starts: list[float]  # seconds into their audio where they begin
    seconds: float  # of the window
    prefix: list[int]  # the tokens that the main was given
    tokens: list[int]  # the tokens that it wrote, the end included
    finished: bool  # whether it wrote the end
    text: str
    human_text: str | None  # None: not known
    error: float | None  # WER or CER of `text` to `human_text`
    mean_log_probability: float | None  # of the tokens
    compression_ratio: float  # bytes of `text` / bytes that zlib makes of it


def read_labels(path: Path) -> list[LabelRow]:
    """The rows of a file, or of the labels.parquet in a folder."""
    import pyarrow.parquet

    file = path / LABELS_FILE if path.is_dir() else path
    return [LabelRow(**row) for row in pyarrow.parquet.read_table(file).to_pylist()]


def write_labels(path: Path, rows: Sequence[LabelRow]) -> None:
    """Writes a file, completely or not at all; without rows where none of the windows could be read."""
    import pyarrow

    write_table(path, pyarrow.Table.from_pylist([vars(row) for row in rows], _schema()))


def is_whole(path: Path) -> bool:
    """Whether the file is there and whole. A full disk or a power failure cuts it, and Parquet ends with its index."""
    import pyarrow.parquet

    try:
        pyarrow.parquet.read_metadata(path)
    except (OSError, ValueError):
        return False
    return True


def _schema() -> "pyarrow.Schema":
    import pyarrow as pa

    numbers, texts = pa.list_(pa.int32()), pa.list_(pa.string())
    columns = {
        "window": pa.int64(),
        "key": pa.string(),
        "clips": texts,
        "starts": pa.list_(pa.float64()),
        "seconds": pa.float64(),
        "prefix": numbers,
        "tokens": numbers,
        "finished": pa.bool_(),
        "text": pa.string(),
        "human_text": pa.string(),
        "error": pa.float64(),
        "mean_log_probability": pa.float64(),
        "compression_ratio": pa.float64(),
    }
    return pa.schema({field.name: columns[field.name] for field in fields(LabelRow)})
