"""Tables that people and programs write: CSV, TSV, JSON lines and Parquet -> records, each with its place.

A row is never guessed. In a CSV file a wrong number of fields or a stray quotation mark makes the rows around it
doubtful too, so the file is refused with the line. A line of JSON stands by itself: a broken one costs its own record
alone. A file's statements about its own size are checked.
"""

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from ..errors import InputError
from .cells import Cells, Role, folded

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
LONGEST_LINE = 1 << 26  # characters
INFLATION = 100  # times its size that a Parquet file may unpack to, once it is ...
LARGE = 1 << 30  # bytes: audio and text shrink far less

Choice = Callable[[list[str]], dict[Role, int]]  # a table's columns -> what is wanted of them, and where it is


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table: the chosen cells by what they mean."""

    place: str  # "line 3" or "row 3", counted from 1
    cells: Cells
    problem: str | None = None  # why it has no cells


def read_table(path: Path, choose: Choice) -> list[Record]:
    """All records in order. Bytes that are no UTF-8 become lone surrogates, so that a bad row costs no other row.

    Raises InputError, with the line where it is known, for a table that cannot be read with certainty.
    """
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: expected a table that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    read = {".parquet": _parquet, ".jsonl": _json_lines, ".json": _json_lines}.get(path.suffix.lower(), _delimited)
    try:
        return read(path, choose)
    except (ValueError, OSError, csv.Error) as error:
        raise error if isinstance(error, InputError) else _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{path}: cannot be read as {path.suffix[1:].lower()} ({reason}).")


def columns_of(path: Path) -> list[str]:
    """The names of a table's columns; of JSON lines, the keys of its first. Raises InputError where it has none."""
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet

        check_parquet(path)
        return list(pyarrow.parquet.read_schema(path).names)
    with _text(path) as file:
        first = next((line for line in _Lines(file, path) if line.strip()), "")
    if path.suffix.lower() in (".jsonl", ".json"):
        row, problem = _parsed(first)
        if problem is not None:
            raise InputError(f"{path}: cannot be read as jsonl ({problem}).")
        return list(row)
    if "|" in first and not any(mark in first for mark in ",;\t"):
        raise InputError(f"{path}: its cells are divided by bars; expected commas, semicolons or tabs.")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else next((c for c in ",;\t" if c in first), ",")
    return [name.replace("\ufeff", "").strip() for name in next(csv.reader([first], delimiter=delimiter), [])]


def column(columns: Sequence[str], wanted: str, table: str) -> int:
    """The position of a column, by its name or by one that differs in case, spaces or hyphens alone.

    Raises InputError where there is none, or several.
    """
    found = [i for i, name in enumerate(columns) if name == wanted]
    found = found or [i for i, name in enumerate(columns) if folded(name) == folded(wanted)]
    if not found:
        names = (name if name.isprintable() else repr(name) for name in columns)
        raise InputError(f"{table}: there is no column {wanted!r}; it has {', '.join(names)}.")
    if len(found) > 1:
        alike = " and ".join(repr(columns[i]) for i in found)
        raise InputError(f"{table}: the columns {alike} could each be {wanted!r}; remove or rename all but one.")
    return found[0]


# CSV and TSV


def _delimited(path: Path, choose: Choice) -> list[Record]:
    with _text(path) as file:
        lines = _Lines(file, path)
        first = next(lines, "")
        delimiter = "\t" if path.suffix.lower() == ".tsv" else next((c for c in ",;\t" if c in first), ",")
        spaced = f"{delimiter} " in first  # a space after each delimiter then belongs to no cell
        table = csv.reader(chain([first], lines), delimiter=delimiter, strict=True, skipinitialspace=spaced)
        rows = _numbered(table, lambda: table.line_num + 1, path)
        columns = [name.replace("\ufeff", "").strip() for _, name in _header(rows)]
        wanted = choose(columns)
        records, odd = [], []
        for line, fields in rows:
            if not any(field.strip() for field in fields):
                continue  # an empty line, or one of delimiters alone
            if len(fields) != len(columns):
                odd.append((line, len(fields)))
                continue
            _refuse_stray_quotes(fields, lines.last, delimiter, f"{path}, line {line}")
            _refuse_swallowed_rows(fields, wanted.get("audio"), delimiter, f"{path}, line {line}")
            records.append(Record(f"line {line}", {name: fields[i] for name, i in wanted.items()}))
    if odd:
        line, count = odd[0]
        more = f" ({len(odd)} such lines)" if odd[1:] else ""
        raise InputError(
            f"{path}, line {line}: has {count} field{'s'[: count != 1]} where the header has {len(columns)}{more}; put "
            f"a cell that holds {delimiter!r} into quotation marks, and leave none out."
        )
    return records


def _header(rows: Iterator[tuple[int, list[str]]]) -> list[tuple[int, str]]:
    _, names = next(rows, (1, []))
    return list(enumerate(names))


def _numbered(table: Iterator[list[str]], next_line: Callable[[], int], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row and the line where it begins."""
    while True:
        line = next_line()
        try:
            yield line, next(table)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{path}, line {line}: cannot be read as {path.suffix[1:].lower()} ({error}); a quotation mark begins "
                "and ends a whole cell, and one within the cell is doubled."
            ) from error


def _refuse_stray_quotes(fields: list[str], line: str, delimiter: str, where: str) -> None:
    """`a.wav, "yes"`: marks after a space quote nothing, and a comma between them would cut the cell."""
    for field in fields:
        if field[:1].isspace() and field.lstrip()[:1] == '"' and delimiter + field in line:
            raise InputError(f"{where}: a quotation mark is after a space; remove the space before it.")


def _refuse_swallowed_rows(fields: list[str], audio: int | None, delimiter: str, where: str) -> None:
    """Two lone quotation marks make one cell of all the rows between them, which then holds names of audio files."""
    ending = "" if audio is None else Path(fields[audio].strip()).suffix.lower()
    for field in fields if ending else ():
        if "\n" in field or "\r" in field:
            parts = re.split(rf"[\r\n{re.escape(delimiter)}]", field.lower())
            named = next((part.strip() for part in parts if part.strip().endswith(ending)), None)
            if named:
                raise InputError(
                    f"{where}: a cell in quotation marks goes on over lines that look like rows ({named!r} is in it); "
                    "a quotation mark lacks its other half."
                )


class _Lines:
    """The lines of a file, each of bounded length; `last` is the latest one."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.file, self.path, self.last, self.number = file, path, "", 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self.last, self.number = self.file.readline(LONGEST_LINE), self.number + 1
        if not self.last:
            raise StopIteration
        if len(self.last) == LONGEST_LINE:
            raise InputError(f"{self.path}, line {self.number}: has more than {LONGEST_LINE:,} characters.")
        return self.last


def _text(path: Path) -> TextIO:
    with open(path, "rb") as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # spreadsheets' "Unicode text"
    if wide:
        return open(path, newline="", encoding="utf-16")
    return open(path, newline="", encoding="utf-8-sig", errors="surrogateescape")


# JSON lines


def _json_lines(path: Path, choose: Choice) -> list[Record]:
    with _text(path) as file:
        lines = _Lines(file, path)
        parsed = [(f"line {lines.number}", *_parsed(line)) for line in lines if line.strip()]
    sound = [row for _, row, problem in parsed if problem is None]
    if parsed and not sound:
        place, _, problem = parsed[0]
        raise InputError(f"{path}, {place}: cannot be read as jsonl ({problem}); each line holds one JSON object.")
    columns = list(dict.fromkeys(key for row in sound for key in row))
    wanted = {name: columns[i] for name, i in choose(columns).items()}
    return [
        Record(place, {name: row.get(key) for name, key in wanted.items()}, problem) for place, row, problem in parsed
    ]


def _parsed(line: str) -> tuple[dict[str, Any], str | None]:
    try:
        row = parse_json(line)
    except ValueError as error:
        return {}, f"broken line: {error}"
    return (row, None) if isinstance(row, dict) else ({}, "broken line: no JSON object")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also for deep nesting and for a key that is there twice."""
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {key[:60]!r} is there twice")
    return found


# Parquet


def _parquet(path: Path, choose: Choice) -> list[Record]:
    import pyarrow.parquet

    check_parquet(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            wanted = {name: columns[i] for name, i in choose(columns).items()}
            batches = file.iter_batches(batch_size=256, columns=list(dict.fromkeys(wanted.values())))
            rows = [row for batch in batches for row in batch.to_pylist()]
    except (pyarrow.ArrowException, MemoryError) as error:
        raise _unreadable(path, error) from error
    return [
        Record(f"row {number}", {name: row[key] for name, key in wanted.items()}) for number, row in enumerate(rows, 1)
    ]


def check_parquet(path: Path) -> None:
    """Raises InputError for a file whose few bytes claim many rows or gigabytes: a repeated value takes no room."""
    import pyarrow.parquet

    try:
        about = pyarrow.parquet.read_metadata(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    size = path.stat().st_size
    unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    if about.num_rows > size:
        raise InputError(f"{path}: claims {about.num_rows} rows in {size} bytes, so they hold nothing.")
    if unpacked > max(LARGE, INFLATION * size):
        raise InputError(f"{path}: claims {unpacked / 1e9:.1f} GB in {size} bytes, which is no speech.")
