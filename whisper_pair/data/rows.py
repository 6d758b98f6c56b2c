"""One row of a corpus: where a clip's audio is, its text and its speaker, read from the cells of a record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from ..config import Source
from ..errors import InputError
from .cells import Cells, Role, Segment, channel_in, name_in, roles, segment_in, text_in
from .clips import Audio
from .paths import is_utf8
from .tables import column

NOT_LISTED = "not in the metadata"
NO_AUDIO = "no audio"


@dataclass(frozen=True, slots=True)
class Row:
    """A clip as its corpus describes it, before its audio is decoded."""

    name: str  # names the clip in messages and labels
    audio: Audio | None
    text: str | None = None
    speaker: str | None = None
    problem: str | None = None  # why it cannot be used, where that is known without its audio
    place: str = ""  # the file and line that describe it
    segment: Segment | None = None  # the part of its audio that it is
    channel: str | None = None  # the channel of its audio that it names


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a corpus that a row is read from."""

    audio: str | None  # None: the audio is in no column
    text: str | None  # None: speech without text
    speaker: str | None
    segments: bool | None  # whether start, end, offset and duration choose a part of the audio; None: where they can

    @classmethod
    def of(cls, source: Source, audio: str | None) -> Self:
        """The columns that a source names."""
        return cls(audio, source.text, source.speaker, source.segments)

    def found_in(self, names: Sequence[str], table: str) -> dict[Role, int]:
        """Where in `names` each column is, and those that choose a part of the audio.

        Raises InputError, naming the table, for a column that is missing or ambiguous.
        """
        wanted: dict[Role, str | None] = {"audio": self.audio, "text": self.text, "speaker": self.speaker}
        found: dict[Role, int] = {role: column(names, name, table) for role, name in wanted.items() if name is not None}
        for role, places in roles(names, found.values()).items():
            if self.segments is False and role != "rate":
                continue
            if places[1:] and role != "rate":
                both = " and ".join(names[i] for i in places)
                raise InputError(f"{table}: the columns {both} both give a {role}; keep one, or set segments: false.")
            found[role] = places[0]
        return found

    def completed(self, row: Row, cells: Cells, listed: bool) -> Row:
        """The row with its text, speaker, segment and channel from its cells. A wrong cell is the row's problem.

        `listed`: the audio is a file of its own, which other rows may name too.
        """
        problem, text, speaker, segment = row.problem, None, None, None
        try:
            text = text_in(cells.get("text"), self.text or "text")
            speaker = name_in(cells.get("speaker"), self.speaker or "speaker")
            segment = segment_in(cells, listed, self.segments)
        except ValueError as error:
            problem = problem or str(error)
        if not (is_utf8(text) and is_utf8(speaker)):
            problem = problem or "text is not UTF-8"
        channel = None if self.segments is False else channel_in(cells.get("channel"))
        name = row.name
        if segment is not None and segment.kind == "part":  # exact figures, since clips are known by their names
            name += f"@{segment.begin}-{'' if segment.end is None else segment.end}"
        return replace(row, name=name, text=text, speaker=speaker, problem=problem, segment=segment, channel=channel)
