"""Corpora that list a text for each file in a plain text file: LJSpeech, LibriSpeech and MLS.

LJSpeech     metadata.csv             LJ001-0001|Printing, in 1890|Printing, in eighteen ninety
             wavs/LJ001-0001.wav
LibriSpeech  84/121123/84-121123.trans.txt    84-121123-0000 GO DO YOU HEAR
             84/121123/84-121123-0000.flac
MLS         transcripts.txt          2422_1845_000000<tab>de eerste regel
            audio/2422/1845/2422_1845_000000.flac
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import InputError
from .described import Utterance, lines_of

LJ_COLUMNS = ("id", "text", "normalized")


def is_ljspeech(folder: Path) -> bool:
    """Whether its metadata.csv has bars between its cells and no header."""
    table = folder / "metadata.csv"
    if not table.is_file() or not (folder / "wavs").is_dir():
        return False
    _, first = next(lines_of(table), ("", ""))
    return "|" in first and not first.lower().startswith(("file_name", "id|"))


def ljspeech(folder: Path, text: str | None) -> Iterator[Utterance]:
    """`text`: "text" as it was written, "normalized" with numbers and abbreviations written out; None for neither."""
    if text is not None and text not in LJ_COLUMNS[1:]:
        raise InputError(f"{folder}: LJSpeech has no text {text!r}; it has {' and '.join(LJ_COLUMNS[1:])}.")
    wanted = 0 if text is None else LJ_COLUMNS.index(text)
    for place, line in lines_of(folder / "metadata.csv"):
        cells = line.split("|")
        if len(cells) <= wanted:
            raise InputError(f"{folder}: {place} has {len(cells)} cells, and needs {wanted + 1}, divided by bars.")
        yield Utterance(f"wavs/{cells[0]}.wav", cells[wanted] if wanted else None, folder.name, place)


def librispeech(folder: Path, tables: Sequence[Path], text: str | None) -> Iterator[Utterance]:
    """`tables`: the .trans.txt files. The speaker is the number that opens an utterance's name."""
    for table in tables:
        audio = {
            path.stem: path for path in table.parent.iterdir() if path.suffix in (".flac", ".wav", ".mp3", ".opus")
        }
        for place, line in lines_of(table):
            name, _, words = line.partition(" ")
            path = audio.get(name, table.parent / f"{name}.flac")
            yield Utterance(
                str(path.relative_to(folder)), None if text is None else words, name.partition("-")[0], place
            )


def is_mls(folder: Path) -> bool:
    """Whether it is a split of Multilingual LibriSpeech."""
    table = folder / "transcripts.txt"
    return table.is_file() and (folder / "audio").is_dir() and "\t" in next(lines_of(table), ("", ""))[1]


def mls(folder: Path, text: str | None) -> Iterator[Utterance]:
    """The clips of a split. An utterance's name is its speaker, its book and its number in that."""
    ending = next((path.suffix for path in (folder / "audio").glob("*/*/*") if path.is_file()), ".flac")
    for place, line in lines_of(folder / "transcripts.txt"):
        name, tab, words = line.partition("\t")
        speaker, _, rest = name.partition("_")
        book, _, number = rest.partition("_")
        if not tab or not number:
            raise InputError(f"{folder}: {place}: expected SPEAKER_BOOK_NUMBER, a tab and a text.")
        yield Utterance(f"audio/{speaker}/{book}/{name}{ending}", None if text is None else words, speaker, place)
