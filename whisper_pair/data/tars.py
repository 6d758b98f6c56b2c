"""Tars in WebDataset's form: members whose names are alike up to the first dot are one clip.

A header's word about a member's size is checked against the file: of a tar that is cut, or claims terabytes, the member
that lacks its bytes is lost and no other.
"""

import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..audio import Slice
from .tables import parse_json

LONGEST_TEXT = 1 << 24  # bytes of a member that is no audio


@dataclass
class Member:
    """A clip's members; they follow each other, as WebDataset has it."""

    key: str
    audios: list[tuple[str, Slice]] = field(default_factory=list)  # by ending
    fields: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None

    def audio_of(self, wanted: str) -> list[Slice]:
        """Those of the wanted ending, or of any where none has it."""
        named = [audio for ending, audio in self.audios if ending in (wanted.lower(), f".{wanted.lower()}")]
        return named or [audio for _, audio in self.audios]

    def problem(self, wanted: str) -> str | None:
        if self.fault:
            return self.fault
        found = self.audio_of(wanted)
        if found[1:]:
            return f"has {len(found)} audio members; name the ending of the one in the source's audio"
        return None if found else "missing file"


def members(path: Path, tar: tarfile.TarFile, endings: Collection[str]) -> Iterator[Member]:
    """Each clip. `endings`: of audio."""
    clip, size = None, path.stat().st_size
    for member in tar:
        if not member.isfile():
            continue
        folder, slash, base = member.name.rpartition("/")
        stem, _, name = base.partition(".")
        if clip is None or folder + slash + stem != clip.key:
            if clip is not None:
                yield clip
            clip = Member(folder + slash + stem)
        ending, cut = f".{name.rpartition('.')[2].lower()}", member.offset_data + member.size > size
        if cut or member.issparse():
            clip.fault = "truncated" if cut else "is stored with holes"
        elif ending in endings:
            clip.audios.append((ending, Slice(path, member.offset_data, member.size)))
        elif member.size > LONGEST_TEXT:
            clip.fault = f"its .{name} has {member.size} bytes"
        else:
            _add(clip, name, tar.extractfile(member).read())
        if cut:
            break  # nothing lies beyond
    if clip is not None:
        yield clip


def _add(clip: Member, ending: str, content: bytes) -> None:
    """.json gives its keys, .txt the text; anything else is named by its ending. The first to tell something counts,
    unless another says otherwise."""
    try:
        found = _fields(ending, content)
    except UnicodeDecodeError:
        clip.fault = "text is not UTF-8" if ending in ("json", "txt") else clip.fault
        return
    except ValueError as error:
        clip.fault = f"broken .json: {error}"
        return
    unlike = [name for name in found if name in clip.fields and _bare(found[name]) != _bare(clip.fields[name])]
    if unlike:
        clip.fault = f"{unlike[0]} is told twice, not alike"
    clip.fields = found | clip.fields


def _fields(ending: str, content: bytes) -> dict[str, Any]:
    if ending == "json":
        found = parse_json(content.decode())
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        return found
    return {"text" if ending == "txt" else ending: content.decode()}


def _bare(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value
