"""What identifies a corpus's contents and the windows made of it, so that results are known to be of other inputs."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config import Data, Source
from .sources import files_of, local, metadata_file, rows_of

ELSEWHERE = ("train", "validation", "test", "workers", "cache")  # settings that change no window
LATER = ("special_tokens",)  # named where they differ from the default, so that runs from before them are still known


def windowing_settings(data: Data) -> dict[str, Any]:
    """The settings that decide which windows a corpus gives."""
    same = [name for name in LATER if getattr(data, name) == getattr(Data, name)]
    return {k: v for k, v in asdict(data).items() if k not in (*ELSEWHERE, *same)}


def fingerprint(sources: Sequence[Source], times: bool = False) -> list[dict[str, Any]]:
    """What identifies the sources' contents: the metadata and the files' names and sizes, or a Hub revision.

    `times`: and when the files were last written, where a copy need not count as the same.
    """
    return [_of(source, times) for source in sources]


def _of(source: Source, times: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"source": source.name, "text": source.text, "speaker": source.speaker}
    entry["weight"] = source.weight
    if source.audio != Source.audio:  # only then, so that runs from before it stood here are still known
        entry["audio"] = source.audio
    if source.segments is not None:
        entry["segments"] = source.segments
    if source.kind == "hub":
        return entry | {"revision": source.revision}
    if source.kind == "folder":
        root, metadata = local(source.folder), metadata_file(source)
        paths: Iterable[Path] = (path for path in root.rglob("*") if path.is_file())
    elif source.kind == "manifest":
        root, metadata = Path(), local(source.manifest)
        paths = {row.audio for row in rows_of(source) if row.problem is None and isinstance(row.audio, Path)}
    else:
        root, metadata = Path(), None
        paths = files_of(source, ".tar" if source.kind == "webdataset" else ".parquet")
    digest = hashlib.sha256()
    if metadata is not None:
        with open(metadata, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(sorted(_facts(path, root, times) for path in paths)).encode())
    return entry | {"sha256": digest.hexdigest()}


def _facts(path: Path, root: Path, times: bool) -> tuple:
    found = path.stat()
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return (name.as_posix(), found.st_size, *([found.st_mtime_ns] if times else []))
