"""A look at a corpus before anything is trained: what it is, how much it holds, and how its texts are written."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..audio import Sound
from ..config import Source
from ..errors import InputError
from .clips import openable
from .layouts import kind_of
from .rows import Row
from .sources import Layout, layout_of, rows_of

MEASURED = 200  # clips whose length is taken; the hours of more are estimated
READ = 2000  # texts that are looked at


@dataclass(frozen=True, slots=True)
class Look:
    """What a corpus holds."""

    kind: str  # its layout, for a reader
    clips: int
    hours: float
    estimated: bool  # whether the hours are, from some of the clips
    speakers: int  # 0: unknown
    texts: int  # clips with text
    capitals: float  # share of the texts that hold capitals and small letters, of those in a script that has them
    punctuation: float  # share of the texts with a full stop, comma, question mark or the like
    script: str | None  # of most letters: LATIN, CYRILLIC, DEVANAGARI, ...

    @property
    def written(self) -> bool:
        """Whether its texts are as a reader would write them; half may be fragments without a mark."""
        return self.punctuation >= 0.5 and (self.capitals >= 0.5 or self.script not in CASED)

    def __str__(self) -> str:
        """All of it in a line."""
        parts = [f"{self.kind}", f"{self.clips} clips", f"{'about ' if self.estimated else ''}{self.hours:.2f} hours"]
        parts.append(f"{self.speakers} speakers" if self.speakers else "speakers unknown")
        if not self.texts:
            return ", ".join([*parts, "no text"])
        style = f"capitals in {100 * self.capitals:.0f} %, " if self.script in CASED else ""
        style += f"punctuation in {100 * self.punctuation:.0f} % of the texts"
        return ", ".join([*parts, f"text in {(self.script or 'no').capitalize()} letters", style])


CASED = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "GEORGIAN")


def look(source: Source, cache: str | None = None) -> Look:
    """Reads the corpus's metadata, and some of its files' lengths. Raises InputError where it holds nothing usable."""
    layout = layout_of(source, cache)
    rows = [row for row in rows_of(source, cache) if row.problem is None and row.audio is not None]
    if not rows:
        raise InputError(f"{source.name}: holds no clip whose audio is there.")
    step = max(1, len(rows) // MEASURED)
    some = rows[::step]
    seconds = sum(map(_seconds, some))
    texts = [row.text for row in rows if row.text and row.text.strip()]
    return Look(
        _kind(layout),
        len(rows),
        seconds * len(rows) / len(some) / 3600,
        len(some) < len(rows),
        len({row.speaker for row in rows if row.speaker}),
        len(texts),
        *_style(texts[:: max(1, len(texts) // READ)]),
    )


def _kind(layout: Layout) -> str:
    from .hub import HubSet

    return f"data set {layout.name}" if isinstance(layout, HubSet) else kind_of(layout)


def _seconds(row: Row) -> float:
    """By its segment or by its packets' times, which costs no decoding; 0 where it cannot be read."""
    if row.segment is not None and row.segment.end is not None:
        return row.segment.end - row.segment.begin
    assert row.audio is not None
    try:
        with Sound(openable(row.audio, row.name), row.name) as sound:
            return sound.packet_seconds()
    except InputError:
        return 0.0


def _style(texts: Sequence[str]) -> tuple[float, float, str | None]:
    """(share with capitals, share with punctuation, script)"""
    letters = Counter(_script(letter) for text in texts for letter in text[:200] if letter.isalpha())
    script = letters.most_common(1)[0][0] if letters else None
    count = max(1, len(texts))
    capitals = sum(any(c.isupper() for c in text) and any(c.islower() for c in text) for text in texts)
    marks = sum(any(unicodedata.category(c) == "Po" and c not in "'\u2019\"#%&*@" for c in text) for text in texts)
    return capitals / count, marks / count, script


def _script(letter: str) -> str:
    """By the first word of its Unicode name; Japanese's three, Chinese and Korean have their own."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0].partition("-")[0]
