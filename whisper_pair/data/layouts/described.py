"""What every layout comes to: utterances, each a file or a part of one, and the rule for where their audio may be.

Audio must be in the corpus's own folder, links followed, or in the folder that the source's `root` names. So no
metadata, whoever wrote it, can make a run read any other file of the machine.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ..cells import Segment
from ..paths import is_inside, is_utf8, resolved, shown
from ..rows import Row


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance as its corpus describes it."""

    audio: str  # a path as the corpus writes it
    text: str | None
    speaker: str | None = None
    place: str = ""  # the file and line that describe it
    begin: float | None = None  # seconds into its audio; None: it is all of its audio
    end: float | None = None  # seconds; None: the audio's end
    channel: str | None = None
    problem: str | None = None  # why it cannot be used


@dataclass(frozen=True, slots=True)
class Described:
    """A corpus whose layout was recognized."""

    name: str  # as the config names it
    kind: str  # the layout, for a reader
    root: Path  # where relative paths start, and where audio may be
    metadata: tuple[Path, ...]  # the files that describe it
    utterances: Callable[[], Iterator[Utterance]]

    @property
    def files(self) -> set[Path]:
        """The audio files that it names and that are there."""
        return {row.audio for row in self.rows() if row.problem is None and isinstance(row.audio, Path)}

    def rows(self) -> Iterator[Row]:
        """Raises InputError for audio outside of `root`, and for metadata that cannot be read."""
        root, seen = self.root.resolve(), set()
        for utterance in self.utterances():
            row = self._row(utterance, root)
            part = (str(row.audio), row.segment, row.channel)
            if row.problem is None and part in seen:
                row = Row(row.name, row.audio, row.text, row.speaker, "listed twice", row.place)
            seen.add(part)
            yield row

    def _row(self, utterance: Utterance, root: Path) -> Row:
        path, there = resolved(self.root, utterance.audio)
        if not is_inside(path, root):
            where = ", ".join(filter(None, [self.name, utterance.place]))
            raise InputError(
                f"{where}: {shown(utterance.audio)!r} is outside of {root}; if it is meant, name the folder that its "
                "audio may be in as the source's root."
            )
        segment, problem = None, utterance.problem
        name = shown(f"{self.name}/{os.path.relpath(path, root) if there else utterance.audio}")
        if utterance.begin is not None:
            end = "" if utterance.end is None else utterance.end
            name += f"@{utterance.begin}-{end}"  # exact figures, since clips are known by their names
            segment = Segment(utterance.begin, utterance.end, "part")
            if utterance.begin < 0 or (utterance.end is not None and utterance.end <= utterance.begin):
                problem = problem or f"its segment ends at {end} s, before it begins"
        if not there:
            problem = problem or "missing file"
        elif not is_utf8(utterance.audio):
            problem = problem or "name is not UTF-8"
        elif not (is_utf8(utterance.text) and is_utf8(utterance.speaker)):
            problem = problem or "text is not UTF-8"
        return Row(name, path, utterance.text, utterance.speaker, problem, utterance.place, segment, utterance.channel)


LINES = 1 << 24  # characters of a line of a text file


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """("FILE, line N", the line without its end) of each line that is not empty. Bytes that are no UTF-8 become lone
    surrogates, so that one bad line costs no other. Raises InputError for a file that cannot be read."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            number = 0
            while line := file.readline(LINES):
                number += 1
                if len(line) == LINES:
                    raise InputError(f"{path}, line {number}: has more than {LINES:,} characters.")
                if line.strip():
                    yield f"{path.name}, line {number}", line.rstrip("\r\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
