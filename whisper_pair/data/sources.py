"""The rows of a corpus: where each clip's audio lies, its text and its speaker.

Whatever is local is read in place: files beside their metadata, and members of uncompressed tars, whose offsets tarfile
tells. Hub and Parquet sets come through the `datasets` library, with their audio undecoded. No audio is decoded here.
"""

import csv
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Source
from ..errors import InputError
from ..media import ENDINGS, Slice, holds_sound
from .clips import Audio, HubRow, cell_audio

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
CONVERTED = "refs/convert/parquet"  # where the Hub keeps its own Parquet form of a set: CONFIG/SPLIT/0000.parquet


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    audio: Audio | None
    text: str | None
    speaker: str | None
    problem: str | None = None  # why it cannot be used, where that is known without its audio


NOT_LISTED = "not in the metadata"
NO_AUDIO = "no audio"
FIELD = 2**24  # bytes of a text beside its audio in a tar, which are read


def rows_of(source: Source) -> Iterator[Row]:
    """In the corpus's order, the same each time."""
    match source.kind:
        case "folder":
            return _folder_rows(source)
        case "manifest":
            return _manifest_rows(source)
        case "webdataset":
            return _tar_rows(source)
        case _:
            return _table_rows(source)


def _folder_rows(source: Source) -> Iterator[Row]:
    metadata = metadata_file(source)
    if metadata is None:  # speech without text
        for path in _audio_files(Path(source.folder)):
            problem = None if _is_utf8(path) else "name is not UTF-8"
            yield Row(shown(f"{source.folder}/{path}"), Path(source.folder).resolve() / path, None, None, problem)
        for path in _files(Path(source.folder), sound=False):
            yield Row(shown(f"{source.folder}/{path}"), None, None, None, NO_AUDIO)
        return
    listed = set()
    for row in _listed_rows(source, metadata, "file_name", Path(source.folder), source.folder):
        listed.add(row.name)
        yield row
    for path in _audio_files(Path(source.folder)):
        name = shown(f"{source.folder}/{path}")
        if name not in listed:
            yield Row(name, None, None, None, NOT_LISTED)


def _manifest_rows(source: Source) -> Iterator[Row]:
    manifest = Path(source.manifest)
    if manifest.suffix not in (".csv", ".jsonl"):
        raise InputError(f"{manifest}: expected a manifest that ends in .csv or .jsonl.")
    if not manifest.is_file():
        raise InputError(f"{manifest}: there is no such file; a manifest lists paths of audio files and their texts.")
    root = Path(source.root) if source.root else manifest.parent
    return _listed_rows(source, manifest, source.audio, root, str(manifest))


def _listed_rows(source: Source, metadata: Path, column: str, root: Path, name: str) -> Iterator[Row]:
    rows = read_metadata(metadata)
    columns = list(rows[0]) if rows else [column]
    _need_columns(columns, [column, source.text, source.speaker], str(metadata))
    inside, seen = root.resolve(), set()
    for row in rows:
        named = "" if row[column] is None else str(row[column])
        path, there = _resolved(inside, named)
        if not path.is_relative_to(inside):
            raise InputError(f"{metadata}: {column} {named!r} leaves the folder {root}.")
        text, speaker = _text(row, source.text), _text(row, source.speaker)
        problem = None
        if not there:
            problem = "missing file"
        elif not _is_utf8(named):
            problem = "name is not UTF-8"
        elif path in seen:
            problem = "listed twice"
        elif not (_is_utf8(text) and _is_utf8(speaker)):
            problem = "text is not UTF-8"
        seen.add(path)
        yield Row(shown(f"{name}/{named}"), path, text, speaker, problem)


def shown(name: str) -> str:
    """A name that can be printed and stored, whatever bytes the file system has in it."""
    return name.encode("utf-8", "backslashreplace").decode()


def _resolved(folder: Path, name: str) -> tuple[Path, bool]:
    """Where the name leads, links followed, and whether a file is there."""
    try:
        path = (folder / name).resolve()
        return path, path.is_file()
    except (ValueError, OSError, RuntimeError):  # a zero byte; a name longer than the file system's; a link to itself
        return folder, False


def metadata_file(source: Source) -> Path | None:
    """The folder's metadata; None where it holds audio alone and no text is asked for."""
    folder = Path(source.folder)
    if not folder.is_dir():
        raise InputError(f"{source.folder}: there is no such folder; a source's folder holds metadata.csv and audio.")
    found = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if found is None and source.text is not None:
        raise InputError(
            f"{source.folder}: holds none of {', '.join(METADATA)}; for audio without text, set text: null."
        )
    return found


def _audio_files(folder: Path) -> list[str]:
    """Names relative to the folder. Links are not followed out of it."""
    return _files(folder, sound=True)


def _files(folder: Path, sound: bool) -> list[str]:
    """Those that hold sound by their ending or their first bytes, or those that do not; hidden ones are neither."""
    inside = folder.resolve()
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    paths = (path for path in paths if path.resolve().is_relative_to(inside) and holds_sound(path) == sound)
    return [path.relative_to(folder).as_posix() for path in paths]


def read_metadata(path: Path) -> list[dict]:
    """Bytes that are no UTF-8 become lone surrogates, so that one bad row does not cost the others."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(path).to_pylist()
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            if path.suffix == ".csv":
                return list(csv.DictReader(file))
            rows = [json.loads(line) for line in file if line.strip()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a line is no JSON object")
        names = list(dict.fromkeys(key for row in rows for key in row))
        return [{name: row.get(name) for name in names} for row in rows]
    except (ValueError, OSError, csv.Error, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]} ({' '.join(str(error).split())}).") from error


def _is_utf8(text: str | None) -> bool:
    return text is None or not any("\ud800" <= c <= "\udfff" for c in text)


def _need_columns(columns: list[str], wanted: list[str | None], where: str) -> None:
    for column in wanted:
        if column is not None and column not in columns:
            names = (name if name.isprintable() else repr(name) for name in map(str, columns))
            raise InputError(f"{where}: there is no column {column!r}; it has {', '.join(names)}.")


def _text(row: dict, column: str | None) -> str | None:
    return None if column is None or row.get(column) is None else str(row[column])


# Tars in WebDataset's form: members whose names are alike up to the first dot are one clip


def _tar_rows(source: Source) -> Iterator[Row]:
    for path in files_of(source, ".tar"):
        try:
            with tarfile.open(path, "r:") as tar:
                for number, (key, audio, fields) in enumerate(_members(path, tar)):
                    if number == 0 and not fields.get("problem"):
                        _need_columns(list(fields), [source.text, source.speaker], str(path))
                    text, speaker = _text(fields, source.text), _text(fields, source.speaker)
                    problem = fields.get("problem") if audio else "missing file"
                    if problem is None and not (_is_utf8(text) and _is_utf8(speaker)):
                        problem = "text is not UTF-8"
                    yield Row(shown(f"{path}:{key}"), audio, text, speaker, problem)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise InputError(f"{path}: cannot be read as an uncompressed tar ({error}).") from error


def _members(path: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, Slice | None, dict[str, Any]]]:
    """Each clip's key, audio and fields; its members follow each other, as WebDataset has it."""
    key, audio, fields = "", None, {}
    for member in tar:
        if not member.isfile():
            continue
        folder, slash, base = member.name.rpartition("/")
        stem, _, ending = base.partition(".")
        if folder + slash + stem != key:
            if key:
                yield key, audio, fields
            key, audio, fields = folder + slash + stem, None, {}
        if f".{ending.rpartition('.')[2].lower()}" in ENDINGS:
            audio = Slice(path, member.offset_data, member.size)
        elif member.size > FIELD:  # whatever its header claims, it is no clip's text
            fields = ({"problem": f"a .{ending} of {member.size} bytes"} if ending in ("json", "txt") else {}) | fields
        else:
            fields = _fields(ending, tar.extractfile(member).read()) | fields
    if key:
        yield key, audio, fields


def _fields(ending: str, content: bytes) -> dict[str, Any]:
    """.json gives its keys, .txt the text; anything else is named by its ending."""
    try:
        return (
            dict(json.loads(content)) if ending == "json" else {"text" if ending == "txt" else ending: content.decode()}
        )
    except UnicodeDecodeError:
        return {"problem": "text is not UTF-8"} if ending in ("json", "txt") else {}
    except (ValueError, TypeError):
        return {"problem": "broken .json"}


# The `datasets` library


def _table_rows(source: Source) -> Iterator[Row]:
    table = load_table(source)
    words = table.remove_columns([c for c in table.column_names if c not in (source.text, source.speaker)])
    for i, row in enumerate(words if words.column_names else ({} for _ in range(len(table)))):
        audio = HubRow(table, i, source.audio)
        yield Row(f"{source.name}#{i}", audio, _text(row, source.text), _text(row, source.speaker))


def streamed_rows(source: Source, table: Any, first: int) -> Iterator[Row]:
    """The rows of a streamed table, which stands at row `first`; their audio is in memory."""
    for i, row in enumerate(table, first):
        name = f"{source.name}#{i}"
        text, speaker = _text(row, source.text), _text(row, source.speaker)
        try:
            yield Row(name, cell_audio(row[source.audio], name), text, speaker)
        except InputError:
            yield Row(name, None, text, speaker, "missing file")


def load_table(source: Source) -> Any:
    """A data set with its audio undecoded; an iterable one where the source is streamed."""
    import datasets

    if source.kind == "parquet":
        files = {"data_files": [str(path) for path in files_of(source, ".parquet")]}
        arguments, options = ("parquet",), files | {"split": "train", "streaming": source.stream}
    else:
        arguments = (source.hub, source.config)
        options = {"split": source.split, "revision": source.revision, "streaming": source.stream}
        if source.revision == CONVERTED:  # no card says there which folder belongs to which configuration
            arguments, options = (source.hub,), options | {"data_dir": source.config}
    try:
        table = datasets.load_dataset(*arguments, **options)
        columns = table.column_names or list(next(iter(table), {}))
    except Exception as error:  # datasets raises many kinds; the user needs the one sentence
        known = _configurations(source) if source.revision == CONVERTED else []
        if known and source.config not in known:
            said = f"there is no configuration {source.config!r}; it has {', '.join(known)}."
            raise InputError(f"{source.name}: {said}") from error
        raise InputError(f"{source.name}: the data set cannot be loaded ({what_failed(error)}).") from error
    _need_columns(columns, [source.audio, source.text, source.speaker], source.name)
    return table.cast_column(source.audio, datasets.Audio(decode=False))


def what_failed(error: Exception) -> str:
    """An error of the `datasets` library as one line, with the mend where it is known."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, ImportError) and "torchcodec" in str(cause)):
        cause = cause.__cause__
    if cause is not None:
        return "it reads tars on the Hub with torchcodec alone; fetch them by `hf download`, and name them webdataset:"
    return " ".join(str(error).split()) or type(error).__name__


def _configurations(source: Source) -> list[str]:
    """The folders of a set that the Hub has converted to Parquet; none where that cannot be asked."""
    from huggingface_hub import HfApi

    try:
        files = HfApi().list_repo_files(source.hub, repo_type="dataset", revision=CONVERTED)
    except Exception:  # the set itself cannot be reached, which is being told
        return []
    return sorted({name.partition("/")[0] for name in files if "/" in name})


def files_of(source: Source, suffix: str) -> list[Path]:
    """The files of a path, a folder or a pattern, sorted."""
    path = Path(source.path)
    if path.is_dir():
        found = sorted(path.rglob(f"*{suffix}"))
    elif path.is_file():
        found = [path]
    else:
        parent = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(parent.glob(str(path.relative_to(path.anchor))))
    if not found:
        raise InputError(f"{source.kind} {source.path}: there is no such file, folder or pattern of {suffix} files.")
    return found
