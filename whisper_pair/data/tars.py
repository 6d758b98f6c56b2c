"""Tars in WebDataset's form: members whose names are equal up to the first dot are one clip.

The stated size of a member is checked against the file: of a tar that is cut off or claims terabytes, only the member
that lacks its bytes is lost.
"""

import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..audio import ENDINGS, Slice
from ..errors import InputError
from .cells import Cells
from .paths import matching_files, shown
from .rows import Columns, Row
from .tables import parse_json

LONGEST_TEXT = 1 << 24  # bytes of a member that is no audio


@dataclass
class Member:
    """The members of one clip, which follow each other in a tar."""

    key: str  # their common name
    audios: list[tuple[str, Slice]] = field(default_factory=list)  # by ending
    fields: dict[str, object] = field(default_factory=dict)  # texts by ending, and the keys of .json
    fault: str | None = None  # why the clip cannot be used

    def audio_of(self, wanted: str) -> list[Slice]:
        """Its audio with the wanted ending, or with any where none has that one."""
        named = [audio for ending, audio in self.audios if ending in (wanted.lower(), f".{wanted.lower()}")]
        return named or [audio for _, audio in self.audios]

    def problem(self, wanted: str) -> str | None:
        """Why it gives no clip with audio of the wanted ending; None where it does."""
        if self.fault:
            return self.fault
        found = self.audio_of(wanted)
        if found[1:]:
            return f"has {len(found)} audio members; name the ending of the one in the source's audio"
        return None if found else "missing file"


def members(path: Path, tar: tarfile.TarFile, endings: Collection[str]) -> Iterator[Member]:
    """Each clip of a tar; `endings`: of members with audio, such as ".wav"."""
    clip: Member | None = None
    size = path.stat().st_size
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
            content = tar.extractfile(member)
            _add(clip, name, content.read() if content else b"")
        if cut:
            break  # nothing is beyond
    if clip is not None:
        yield clip


def _add(clip: Member, ending: str, content: bytes) -> None:
    """.json gives its keys, .txt the text, anything else its ending. Two members that contradict each other are a
    fault of the clip."""
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
        clip.fault = f"{unlike[0]} is given twice, with two values"
    clip.fields = found | clip.fields


def _fields(ending: str, content: bytes) -> dict[str, object]:
    if ending == "json":
        found = parse_json(content.decode())
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        return found
    return {"text" if ending == "txt" else ending: content.decode()}


def _bare(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Tars:
    """Uncompressed tar files with audio and texts; their audio is read in place."""

    pattern: str  # a file, a folder or a pattern
    columns: Columns  # `audio`: the ending of the members with audio

    @property
    def files(self) -> list[Path]:
        """The files that the rows are in."""
        return matching_files("webdataset", self.pattern, ".tar")

    def rows(self) -> Iterator[Row]:
        """Raises InputError for a file that is no such tar, and for a column that no clip has."""
        for path in self.files:
            try:
                with tarfile.open(path, "r:") as tar:
                    yield from self._rows(path, tar)
            except InputError:
                raise
            except (tarfile.TarError, EOFError, OSError, MemoryError, OverflowError, ValueError) as error:
                raise InputError(f"{path}: cannot be read as an uncompressed tar ({error or 'too large'}).") from error

    def _rows(self, path: Path, tar: tarfile.TarFile) -> Iterator[Row]:
        wanted, first = self.columns.audio or "", True
        columns = replace(self.columns, audio=None)
        for member in members(path, tar, ENDINGS):
            name, problem = shown(f"{path}:{member.key}"), member.problem(wanted)
            if first and problem is None:
                columns.found_in(list(member.fields), str(path))
                first = False
            audio = next(iter(member.audio_of(wanted)), None)
            yield self.columns.completed(Row(name, audio, problem=problem), _cells(columns, member, name), False)


def _cells(columns: Columns, member: Member, name: str) -> Cells:
    """A clip's cells by what they mean. A clip may lack fields that others have."""
    names = list(member.fields)
    text, speaker = (known if known in names else None for known in (columns.text, columns.speaker))
    places = replace(columns, text=text, speaker=speaker).found_in(names, name)
    return {role: member.fields[names[i]] for role, i in places.items()}
