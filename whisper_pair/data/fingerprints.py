"""What identifies a corpus's contents and the windows made of it, so that a change of either is noticed."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config import Data, Source
from .hub import HubSet
from .layouts import Described, is_archive
from .listed import Folder, Manifest
from .paths import local
from .sources import Layout, layout_of

ELSEWHERE = ("train", "validation", "test", "workers", "cache")  # settings that change no window


def windowing_settings(data: Data) -> dict[str, Any]:
    """The settings that decide which windows a corpus gives, as JSON types."""
    return {k: v for k, v in asdict(data).items() if k not in ELSEWHERE}


def fingerprint(sources: Sequence[Source], times: bool = False) -> list[dict[str, Any]]:
    """What identifies the sources' contents, as JSON types: the metadata and the files' names and sizes, or a Hub
    revision.

    `times`: also when the files were last written, where a copy need not count as the same.
    """
    return [_of(source, times) for source in sources]


def _of(source: Source, times: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"source": source.name, "text": source.text, "speaker": source.speaker}
    entry["weight"] = source.weight
    if source.audio != Source.audio:  # left out at its default, so that runs from before it are recognized
        entry["audio"] = source.audio
    if source.restore_style:
        entry["restore_style"] = True
    if source.segments is not None:
        entry["segments"] = source.segments
    if source.split != Source.split and not source.hub:
        entry["split"] = source.split
    if source.corpus is not None and is_archive(local(source.corpus)):
        return entry | {"archive": _facts(local(source.corpus), Path(), times)}
    layout = layout_of(source)
    if isinstance(layout, HubSet):
        return entry | {"revision": layout.revision}
    root = layout.path if isinstance(layout, Folder) else Path()
    digest = hashlib.sha256()
    for number, metadata in enumerate(_metadata(layout)):
        with open(metadata, "rb") as file:
            found = hashlib.file_digest(file, "sha256")
        digest = digest if number else found  # the digest of a single table goes on from its bytes
        digest.update(found.digest() if number else b"")
    digest.update(json.dumps(sorted(_facts(path, root, times) for path in layout.files)).encode())
    return entry | {"sha256": digest.hexdigest()}


def _metadata(layout: Layout) -> Sequence[Path]:
    if isinstance(layout, Folder):
        return [layout.metadata] if layout.metadata else []
    if isinstance(layout, Manifest):
        return [layout.metadata]
    return layout.metadata if isinstance(layout, Described) else []


def _facts(path: Path, root: Path, times: bool) -> tuple[str | int, ...]:
    found = path.stat()
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return (name.as_posix(), found.st_size, *([found.st_mtime_ns] if times else []))
