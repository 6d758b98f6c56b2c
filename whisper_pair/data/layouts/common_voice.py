"""Common Voice: SPLIT.tsv beside clips/, as Mozilla publishes it.

    cv-corpus-17.0-2024-03-15/nl/train.tsv      client_id  path  sentence  ...
    cv-corpus-17.0-2024-03-15/nl/clips/common_voice_nl_1.mp3

Each line is split at its tabs. A sentence may be in quotation marks, with those within it doubled, where the release
was written so; a sentence that merely begins with a quotation mark is left as it is.
"""

from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError
from ..tables import column
from .described import Utterance, lines_of

SPLITS = ("train", "dev", "test", "validated", "invalidated", "other")


def splits(folder: Path) -> dict[str, Path]:
    """The tables of a release by the names of their splits; none where the folder holds no release."""
    if not (folder / "clips").is_dir():
        return {}
    return {name: folder / f"{name}.tsv" for name in SPLITS if (folder / f"{name}.tsv").is_file()}


def utterances(table: Path, text: str | None, speaker: str | None) -> Iterator[Utterance]:
    """The clips of a split. `text`, `speaker`: columns; "text" is Common Voice's `sentence`."""
    lines = lines_of(table)
    _, header = next(lines, ("", ""))
    names = header.split("\t")
    audio = column(names, "path", str(table))
    words = None if text is None else column(names, "sentence" if text == "text" else text, str(table))
    voice = (
        column(names, speaker, str(table)) if speaker else names.index("client_id") if "client_id" in names else None
    )
    last = max(place for place in (audio, words, voice) if place is not None)
    for place, line in lines:
        cells = line.split("\t")
        if len(cells) <= last:
            raise InputError(f"{table}, {place.rpartition(', ')[2]}: has {len(cells)} fields, and needs {last + 1}.")
        yield Utterance(
            f"clips/{cells[audio]}",
            None if words is None else unquoted(cells[words]),
            None if voice is None else cells[voice] or None,
            place,
        )


def unquoted(cell: str) -> str:
    """A cell that was written in quotation marks, without them; any other as it is."""
    inner = cell[1:-1]
    quoted = len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if quoted else cell
