"""Audio files that a table lists: a folder with its metadata, and a manifest that may be elsewhere."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError
from .cells import audio_in
from .paths import audio_files, is_inside, is_utf8, local, other_files, resolved, shown
from .rows import NO_AUDIO, NOT_LISTED, Columns, Row
from .tables import ENDINGS, Record, read_table

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
FILE_NAME = "file_name"  # the column of a folder's metadata


@dataclass(frozen=True, slots=True)
class Folder:
    """Audio files and the metadata that lists them; without metadata, audio files alone."""

    name: str  # as the config names it
    columns: Columns

    @property
    def path(self) -> Path:
        """Where the folder lies."""
        return local(self.name)

    @property
    def metadata(self) -> Path | None:
        """None where it holds audio alone. Raises InputError where text is wanted, or two files could be meant."""
        if not self.path.is_dir():
            raise InputError(f"{self.name}: there is no such folder; a source's folder holds metadata.csv and audio.")
        found = [name for name in METADATA if (self.path / name).is_file()]
        if found[1:]:
            raise InputError(f"{self.name}: holds {' and '.join(found)}; keep the one that lists its audio.")
        if not found and self.columns.text is not None:
            raise InputError(
                f"{self.name}: holds none of {', '.join(METADATA)}; for audio without text, set text: null."
            )
        return self.path / found[0] if found else None

    @property
    def files(self) -> list[Path]:
        """All of them: what identifies its contents."""
        return [path for path in self.path.rglob("*") if path.is_file()]

    def rows(self) -> Iterator[Row]:
        """Each row of the corpus."""
        metadata = self.metadata
        if metadata is None:
            return self._audio_alone()
        return self._with_metadata(metadata)

    def _audio_alone(self) -> Iterator[Row]:
        for file in audio_files(self.path):
            problem = None if is_utf8(file) else "name is not UTF-8"
            yield Row(shown(f"{self.name}/{file}"), self.path.resolve() / file, problem=problem)
        for file in other_files(self.path):
            yield Row(shown(f"{self.name}/{file}"), None, problem=NO_AUDIO)

    def _with_metadata(self, metadata: Path) -> Iterator[Row]:
        listing = Listing(metadata, self.path, self.name, self.columns)
        yield from listing.rows()
        for file in audio_files(self.path):
            if str(self.path.resolve() / file) not in listing.listed:
                yield Row(shown(f"{self.name}/{file}"), None, problem=NOT_LISTED)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A table that names audio files, all of them inside `root`."""

    name: str  # as the config names it
    root: Path
    columns: Columns

    @property
    def metadata(self) -> Path:
        """Raises InputError where there is no such table."""
        path = local(self.name)
        if path.suffix.lower() not in ENDINGS:
            raise InputError(f"{path}: expected a manifest that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; a manifest lists paths of audio files and their texts.")
        return path

    @property
    def files(self) -> set[Path]:
        """The audio files that it names and that are there."""
        return {row.audio for row in self.rows() if row.problem is None and isinstance(row.audio, Path)}

    def rows(self) -> Iterator[Row]:
        """Each row of the corpus."""
        metadata = self.metadata
        way_out = "; if it is meant, name the folder that its audio may be in as the source's root"
        return Listing(metadata, self.root, str(metadata), self.columns, way_out).rows()


class Listing:
    """The rows of a table of audio files. A path that leaves `root` is refused."""

    def __init__(self, metadata: Path, root: Path, name: str, columns: Columns, way_out: str = "") -> None:
        self.metadata, self.root, self.name, self.columns = metadata, root.resolve(), name, columns
        self.way_out = way_out  # what helps where a path leaves the root
        self.listed: set[str] = set()  # files that were named so far, links not followed

    def rows(self) -> Iterator[Row]:
        """Raises InputError for a table that cannot be read, and for a path that leaves `root`."""
        seen = set()
        for record in read_table(self.metadata, lambda names: self.columns.found_in(names, str(self.metadata))):
            row = self._row(record)
            if isinstance(row.audio, Path) and row.problem != "missing file":
                file = os.path.normpath(self.root / local(str(self._audio(record)).strip()))
                part = (file, row.segment, row.channel)
                if row.problem is None and part in seen:
                    row = replace(row, problem="listed twice")
                self.listed.add(file)
                seen.add(part)
            yield replace(row, place=f"{self.metadata.name}, {record.place}")

    def _row(self, record: Record) -> Row:
        name = f"{self.name}: {record.place}"
        if record.problem is not None:
            return Row(name, None, problem=record.problem)
        try:
            found = self._audio(record)
        except ValueError as error:
            return Row(name, None, problem=str(error))
        if isinstance(found, bytes):
            return self.columns.completed(Row(name, found), record.cells, True)
        named = found or ""
        path, there = resolved(self.root, named)
        if not is_inside(path, self.root):
            where = f"{self.name}, {record.place}: {self.columns.audio} {shown(named)!r}"
            raise InputError(f"{where} leaves the folder {self.root}{self.way_out}.")
        problem = None
        if not there:
            problem = "missing file"
        elif not is_utf8(named):  # libsndfile takes no such name
            problem = "name is not UTF-8"
        return self.columns.completed(Row(shown(f"{self.name}/{named}"), path, problem=problem), record.cells, True)

    def _audio(self, record: Record) -> bytes | str | None:
        return audio_in(record.cells["audio"], record.cells.get("rate"))
