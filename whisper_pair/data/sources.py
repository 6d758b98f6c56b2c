"""The rows of a corpus: where each clip's audio lies, its text and its speaker.

Whatever is local is read in place: files beside their metadata, and members of uncompressed tars, whose offsets tarfile
tells. Hub and Parquet sets come through the `datasets` library, with their audio undecoded. No audio is decoded here.
"""

import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..audio import ENDINGS as AUDIO_ENDINGS
from ..audio import holds_sound
from ..config import Source
from ..errors import InputError
from .cells import Segment, audio_in, channel_in, name_in, roles, segment_in, text_in
from .clips import Audio, HubRow, cell_audio
from .tables import ENDINGS, Record, check_parquet, column, read_table
from .tars import Member, members

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
CONVERTED = "refs/convert/parquet"  # where the Hub keeps its own Parquet form of a set: CONFIG/SPLIT/0000.parquet


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    audio: Audio | None
    text: str | None
    speaker: str | None
    problem: str | None = None  # why it cannot be used, where that is known without its audio
    place: str = ""  # the file and line that it is from
    segment: Segment | None = None  # the part of its audio that it is
    channel: str | None = None  # the channel of its audio that it asks for


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
    metadata, folder = metadata_file(source), local(source.folder)
    listed: set[str] = set()
    if metadata is not None:
        yield from _listed_rows(source, metadata, "file_name", folder, source.folder, listed)
    for path in _audio_files(folder):
        name, there = shown(f"{source.folder}/{path}"), folder.resolve() / path
        if metadata is None:  # speech without text
            yield Row(name, there, None, None, None if _is_utf8(path) else "name is not UTF-8")
        elif str(there) not in listed:
            yield Row(name, None, None, None, NOT_LISTED)
    for path in _files(folder, sound=False) if metadata is None else ():
        yield Row(shown(f"{source.folder}/{path}"), None, None, None, NO_AUDIO)


def _manifest_rows(source: Source) -> Iterator[Row]:
    manifest = local(source.manifest)
    if manifest.suffix.lower() not in ENDINGS:
        raise InputError(f"{manifest}: expected a manifest that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    if not manifest.is_file():
        raise InputError(f"{manifest}: there is no such file; a manifest lists paths of audio files and their texts.")
    root = local(source.root) if source.root else manifest.parent
    return _listed_rows(source, manifest, source.audio, root, str(manifest), set())


def _listed_rows(source: Source, metadata: Path, audio: str, root: Path, name: str, listed: set[str]) -> Iterator[Row]:
    """`listed` receives the files that are named, links not followed."""
    inside, seen = root.resolve(), set()
    for record in read_table(metadata, lambda columns: _chosen(source, columns, audio, str(metadata))):
        row = _listed_row(source, record, audio, inside, name)
        if isinstance(row.audio, Path) and row.problem != "missing file":
            file = os.path.normpath(inside / local(_audio_of(record).strip()))
            part = (file, row.segment, row.channel)
            if row.problem is None and part in seen:
                row = replace(row, problem="listed twice")
            listed.add(file)
            seen.add(part)
        yield replace(row, place=f"{metadata.name}, {record.place}")


def _listed_row(source: Source, record: Record, audio: str, inside: Path, name: str) -> Row:
    if record.problem is not None:
        return Row(f"{name}: {record.place}", None, None, None, record.problem)
    try:
        found = _audio_of(record)
    except ValueError as error:
        return Row(f"{name}: {record.place}", None, None, None, str(error))
    if isinstance(found, bytes):
        return _told(source, Row(f"{name}: {record.place}", found, None, None), record.cells, True)
    named = found or ""
    path, there = _resolved(inside, named)
    if not _is_inside(path, inside):
        raise InputError(f"{name}, {record.place}: {audio} {shown(named)!r} leaves the folder {inside}.")
    problem = None
    if not there:
        problem = "missing file"
    elif not _is_utf8(named):  # libsndfile takes no such name
        problem = "name is not UTF-8"
    return _told(source, Row(shown(f"{name}/{named}"), path, None, None, problem), record.cells, True)


def _audio_of(record: Record) -> bytes | str | None:
    return audio_in(record.cells["audio"], record.cells.get("rate"))


def _told(source: Source, row: Row, cells: Mapping[str, Any], listed: bool) -> Row:
    """The row with what its other cells say. What cannot be right is the row's problem."""
    problem, text, speaker, segment = row.problem, None, None, None
    try:
        text = text_in(cells.get("text"), source.text or "text")
        speaker = name_in(cells.get("speaker"), source.speaker or "speaker")
        segment = segment_in(cells, listed, source.segments)
    except ValueError as error:
        problem = problem or str(error)
    if not (_is_utf8(text) and _is_utf8(speaker)):
        problem = problem or "text is not UTF-8"
    channel = None if source.segments is False else channel_in(cells.get("channel"))
    name = row.name
    if segment is not None and segment.kind == "part":
        name += (
            f"@{segment.begin}-{'' if segment.end is None else segment.end}"  # exact: clips are known by their names
        )
    return Row(name, row.audio, text, speaker, problem, row.place, segment, channel)


def _chosen(source: Source, columns: Sequence[str], audio: str | None, table: str) -> dict[str, int]:
    """Where the columns stand that a row is read from, by what they tell. Raises InputError for those that lack."""
    wanted = {"audio": audio, "text": source.text, "speaker": source.speaker}
    found = {role: column(columns, name, table) for role, name in wanted.items() if name is not None}
    for role, places in roles(columns, found.values()).items():
        if source.segments is False and role != "rate":
            continue
        if places[1:] and role != "rate":
            names = " and ".join(columns[i] for i in places)
            raise InputError(f"{table}: the columns {names} both tell a {role}; keep one, or set segments: false.")
        found[role] = places[0]
    return found


def shown(name: str) -> str:
    """A name that can be printed and stored, whatever bytes the file system has in it."""
    return name.encode("utf-8", "backslashreplace").decode()


def local(name: str) -> Path:
    """A path as a user writes it, `~` for the own home."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~nobody
        return Path(name)


def _resolved(folder: Path, name: str) -> tuple[Path, bool]:
    """Where the name leads, links followed, and whether a file is there."""
    try:
        path = (folder / local(name)).resolve()
        if not path.exists() and name != name.strip():  # a space after a comma
            path = (folder / name.strip()).resolve()
        return path, path.is_file()
    except (ValueError, OSError, RuntimeError):  # a zero byte; a name longer than the file system's; a link to itself
        return folder, False


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a resolved path lies in a resolved folder. In the Hub's cache a snapshot's files are links to its blobs:
    datasets--ORG--NAME/snapshots/COMMIT/a.wav -> datasets--ORG--NAME/blobs/SHA."""
    if path.is_relative_to(folder):
        return True
    snapshots = next((parent for parent in (folder, *folder.parents) if parent.name == "snapshots"), None)
    return snapshots is not None and "--" in snapshots.parent.name and path.parent == snapshots.parent / "blobs"


def metadata_file(source: Source) -> Path | None:
    """The folder's metadata; None where it holds audio alone and no text is asked for."""
    folder = local(source.folder)
    if not folder.is_dir():
        raise InputError(f"{source.folder}: there is no such folder; a source's folder holds metadata.csv and audio.")
    found = [name for name in METADATA if (folder / name).is_file()]
    if found[1:]:
        raise InputError(f"{source.folder}: holds {' and '.join(found)}; keep the one that lists its audio.")
    if not found and source.text is not None:
        raise InputError(
            f"{source.folder}: holds none of {', '.join(METADATA)}; for audio without text, set text: null."
        )
    return folder / found[0] if found else None


def _audio_files(folder: Path) -> list[str]:
    """Names relative to the folder. Links are not followed out of it."""
    return _files(folder, sound=True)


def _files(folder: Path, sound: bool) -> list[str]:
    """Those that hold sound by their ending or their first bytes, or those that do not; hidden ones are neither."""
    inside = folder.resolve()
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    paths = (path for path in paths if _is_inside(path.resolve(), inside) and holds_sound(path) == sound)
    return [path.relative_to(folder).as_posix() for path in paths]


def _is_utf8(text: str | None) -> bool:
    return text is None or not any("\ud800" <= c <= "\udfff" for c in text)


# Tars in WebDataset's form: members whose names are alike up to the first dot are one clip


def _tar_rows(source: Source) -> Iterator[Row]:
    for path in files_of(source, ".tar"):
        first = True
        try:
            with tarfile.open(path, "r:") as tar:
                for member in members(path, tar, AUDIO_ENDINGS):
                    name, problem = shown(f"{path}:{member.key}"), member.problem(source.audio)
                    if first and problem is None:
                        _chosen(source, list(member.fields), None, str(path))
                        first = False
                    audio = next(iter(member.audio_of(source.audio)), None)
                    yield _told(source, Row(name, audio, None, None, problem), _cells(source, member, name), False)
        except (tarfile.TarError, EOFError, OSError, MemoryError, OverflowError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: cannot be read as an uncompressed tar ({error or 'too large'}).") from error


def _cells(source: Source, member: Member, name: str) -> dict[str, Any]:
    """A clip's fields by what they tell. A clip may lack some that others have."""
    names = list(member.fields)
    text, speaker = (known if known in names else None for known in (source.text, source.speaker))
    there = _chosen(replace(source, text=text, speaker=speaker), names, None, name)
    return {role: member.fields[names[i]] for role, i in there.items()}


# The `datasets` library


def _table_rows(source: Source) -> Iterator[Row]:
    table = load_table(source)
    chosen = _names(source, table.column_names)
    about = {role: name for role, name in chosen.items() if role not in ("audio", "rate")}
    words = table.select_columns(list(dict.fromkeys(about.values()))) if about else ({} for _ in range(len(table)))
    for i, row in enumerate(words):
        audio = HubRow(table, i, chosen["audio"], chosen.get("rate"))
        cells = {role: row[name] for role, name in about.items()}
        yield _told(source, Row(f"{source.name}#{i}", audio, None, None), cells, False)


def streamed_rows(source: Source, table: Any, first: int) -> Iterator[Row]:
    """The rows of a streamed table, which stands at row `first`; their audio is in memory."""
    chosen: dict[str, str] = {}
    for i, row in enumerate(table, first):
        chosen = chosen or _names(source, list(row))
        name, problem, audio = f"{source.name}#{i}", None, None
        cells = {role: row.get(known) for role, known in chosen.items()}
        try:
            audio = cell_audio(cells["audio"], name, cells.get("rate"))
        except InputError as error:
            problem = str(error).removeprefix(f"{name}: ").rstrip(".")
        yield _told(source, Row(name, audio, None, None, problem), cells, False)


def _names(source: Source, columns: list[str]) -> dict[str, str]:
    return {role: columns[i] for role, i in _chosen(source, columns, source.audio, source.name).items()}


def load_table(source: Source) -> Any:
    """A data set with its audio undecoded; an iterable one where the source is streamed."""
    import datasets

    if source.kind == "parquet":
        paths = files_of(source, ".parquet")
        for path in paths:
            check_parquet(path)
        files = {"data_files": [str(path) for path in paths]}
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
    audio = _names(source, columns)["audio"]
    feature = (table.features or {}).get(audio)
    if isinstance(feature, datasets.List | datasets.LargeList) or (isinstance(feature, dict) and "array" in feature):
        return table  # of numbers
    return table.cast_column(audio, datasets.Audio(decode=False))


def what_failed(error: Exception) -> str:
    """An error of the `datasets` library as one line, with the fix where it is known."""
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
    path = local(source.path)
    if path.is_dir():
        found = sorted(file for file in path.rglob(f"*{suffix}") if not file.is_dir())
    elif path.is_file():
        found = [path]
    else:
        parent = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(parent.glob(str(path.relative_to(path.anchor))))
    odd = next((path for path in found if not path.is_file()), None)
    if odd is not None:
        raise InputError(f"{odd}: is no file; {source.kind} {source.path} takes {suffix} files alone.")
    if not found:
        raise InputError(f"{source.kind} {source.path}: there is no such file, folder or pattern of {suffix} files.")
    return found
