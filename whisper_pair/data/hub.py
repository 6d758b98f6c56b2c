"""Data sets of the `datasets` library, on the Hub or in Parquet files, with their audio undecoded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..errors import InputError
from .clips import HubRow, cell_audio
from .paths import matching_files
from .rows import Columns, Row
from .tables import check_parquet

CONVERTED = "refs/convert/parquet"  # where the Hub keeps its own Parquet form of a set: CONFIG/SPLIT/0000.parquet


@dataclass(frozen=True, slots=True)
class ParquetFiles:
    """Parquet files with the audio inside."""

    pattern: str  # a file, a folder or a pattern
    stream: bool
    columns: Columns

    @property
    def name(self) -> str:
        """The pattern, which names the files."""
        return self.pattern

    @property
    def files(self) -> list[Path]:
        """The files that the rows are in."""
        return matching_files("parquet", self.pattern, ".parquet")

    def load(self) -> Any:
        """datasets.Dataset, or datasets.IterableDataset where it is streamed."""
        import datasets

        for path in self.files:
            check_parquet(path)
        files = [str(path) for path in self.files]
        return datasets.load_dataset("parquet", data_files=files, split="train", streaming=self.stream)

    def hint(self) -> str | None:
        """Nothing: the columns are as they are."""
        return None

    def rows(self) -> Iterator[Row]:
        """Each row of the corpus."""
        return _rows(self)


@dataclass(frozen=True, slots=True)
class HubSet:
    """A data set on the Hugging Face Hub."""

    name: str  # as messages and clips have it
    repository: str  # owner/name
    config: str | None
    split: str
    revision: str | None
    stream: bool
    columns: Columns

    def load(self) -> Any:
        """datasets.Dataset, or datasets.IterableDataset where it is streamed."""
        import datasets

        options: dict[str, Any] = {"split": self.split, "revision": self.revision, "streaming": self.stream}
        if self.revision == CONVERTED:  # no card says there which folder belongs to which configuration
            return datasets.load_dataset(self.repository, data_dir=self.config, **options)
        return datasets.load_dataset(self.repository, self.config, **options)

    def hint(self) -> str | None:
        """Why it may not have loaded, where that is known: a configuration that its Parquet form does not hold."""
        known = self._converted() if self.revision == CONVERTED else []
        if not known or self.config in known:
            return None
        return f"there is no configuration {self.config!r}; it has {', '.join(known)}."

    def _converted(self) -> list[str]:
        """The configurations that the Hub has converted to Parquet; none where the Hub does not answer."""
        from huggingface_hub import HfApi

        try:
            files = HfApi().list_repo_files(self.repository, repo_type="dataset", revision=CONVERTED)
        except Exception:  # the set cannot be reached either, which is reported
            return []
        return sorted({name.partition("/")[0] for name in files if "/" in name})

    def rows(self) -> Iterator[Row]:
        """Each row of the corpus."""
        return _rows(self)


@dataclass(frozen=True, slots=True)
class SavedSet:
    """A data set that `datasets` saved to a folder (save_to_disk)."""

    name: str  # as messages and clips have it
    folder: Path  # of one split
    columns: Columns

    @classmethod
    def of(cls, name: str, folder: Path, columns_of: Callable[[Sequence[str]], Columns]) -> Self:
        """`columns_of`: from the set's columns to those that are read."""
        import datasets

        try:
            names = datasets.load_from_disk(str(folder)).column_names
        except Exception as error:  # datasets raises many kinds; the user needs the one sentence
            raise InputError(f"{name}: the saved data set cannot be loaded ({what_failed(error)}).") from error
        return cls(name, folder, columns_of(names))

    @property
    def files(self) -> list[Path]:
        """All of its files: what identifies its contents."""
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def load(self) -> Any:
        """datasets.Dataset."""
        import datasets

        return datasets.load_from_disk(str(self.folder))

    def hint(self) -> str | None:
        """Nothing is known of why it may not have loaded."""
        return None

    def rows(self) -> Iterator[Row]:
        """Its rows, with their audio undecoded."""
        return _rows(self)


DataSet = HubSet | ParquetFiles | SavedSet


def load_table(source: DataSet) -> Any:
    """A datasets.Dataset with its audio undecoded; a datasets.IterableDataset where the source is streamed.

    Raises InputError, in one sentence, for whatever kept `datasets` from loading it.
    """
    import datasets

    try:
        table = source.load()
        columns = table.column_names or list(next(iter(table), {}))
    except InputError:
        raise
    except Exception as error:  # datasets raises many kinds; the user needs the one sentence
        reason = source.hint() or f"the data set cannot be loaded ({what_failed(error)})."
        raise InputError(f"{source.name}: {reason}") from error
    audio = columns[source.columns.found_in(columns, source.name)["audio"]]
    feature = (table.features or {}).get(audio)
    if isinstance(feature, datasets.List | datasets.LargeList) or (isinstance(feature, dict) and "array" in feature):
        return table  # of numbers
    return table.cast_column(audio, datasets.Audio(decode=False))


def _rows(source: DataSet) -> Iterator[Row]:
    """The rows of a set that is not streamed."""
    table = load_table(source)
    places = source.columns.found_in(table.column_names, source.name)
    chosen = {role: table.column_names[i] for role, i in places.items()}
    about = {role: name for role, name in chosen.items() if role not in ("audio", "rate")}
    words = table.select_columns(list(dict.fromkeys(about.values()))) if about else ({} for _ in range(len(table)))
    for i, row in enumerate(words):
        audio = HubRow(table, i, chosen["audio"], chosen.get("rate"))
        cells = {role: row[name] for role, name in about.items()}
        yield source.columns.completed(Row(f"{source.name}#{i}", audio), cells, False)


def streamed_rows(source: DataSet, table: Any, first: int) -> Iterator[Row]:
    """The rows of a streamed datasets.IterableDataset that stands at row `first`; their audio is in memory."""
    names: list[str] = []
    places = {}
    for i, row in enumerate(table, first):
        if not names:
            names = list(row)
            places = source.columns.found_in(names, source.name)
        name, problem, audio = f"{source.name}#{i}", None, None
        cells = {role: row.get(names[place]) for role, place in places.items()}
        try:
            audio = cell_audio(cells["audio"], name, cells.get("rate"))
        except InputError as error:
            problem = str(error).removeprefix(f"{name}: ").rstrip(".")
        yield source.columns.completed(Row(name, audio, problem=problem), cells, False)


def what_failed(error: Exception) -> str:
    """An error of the `datasets` library as one line, with the fix where it is known."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, ImportError) and "torchcodec" in str(cause)):
        cause = cause.__cause__
    if cause is not None:
        return "it reads tars on the Hub with torchcodec alone; fetch them by `hf download`, and name them webdataset:"
    return " ".join(str(error).split()) or type(error).__name__
