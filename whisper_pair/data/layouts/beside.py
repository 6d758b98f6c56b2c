"""Audio files with their texts in files of the same name, beside them or elsewhere in the folder.

clips/a.wav      clips/a.txt                      the text of a clip
talks/b.mp3      talks/b.srt (.vtt .stm .TextGrid, Audacity's .txt)    a long recording: each segment is a clip
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...errors import InputError
from ..paths import audio_files, other_files
from . import timed_text
from .described import Utterance

LONGEST = 1 << 20  # bytes of a clip's text
TXT = ".txt"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Audio files of a folder with their texts, both as names relative to it."""

    folder: Path
    audio: tuple[str, ...]
    texts: dict[str, str]  # by audio
    timed: bool  # whether the texts have times

    @property
    def metadata(self) -> tuple[Path, ...]:
        """The files with texts."""
        return tuple(self.folder / text for text in self.texts.values())

    @property
    def kind(self) -> str:
        """The layout's name, for a reader."""
        endings = sorted({PurePosixPath(text).suffix for text in self.texts.values()})
        what = "recordings with" if self.timed else "clips with"
        return f"{what} {' and '.join(endings)} of the same name"

    def utterances(self, text: str | None) -> Iterator[Utterance]:
        """`text`: None leaves the texts out; of TextGrids it names a tier, unless it is "text"."""
        if self.timed and text is not None:
            yield from self._segments(None if text == "text" else text)
            return
        for audio in self.audio:
            found = self.texts.get(audio)
            if text is not None and found is None:
                yield Utterance(audio, None, problem="no text of the same name")
            elif text is None or found is None:
                yield Utterance(audio, None)
            else:
                words = self._text(found)
                yield Utterance(audio, words, place=found)

    def _text(self, name: str) -> str:
        path = self.folder / name
        if path.stat().st_size > LONGEST:
            raise InputError(f"{path}: has more than {LONGEST / 1e6:.0f} MB, which is no clip's text.")
        return " ".join(path.read_text(encoding="utf-8-sig", errors="surrogateescape").split())

    def _segments(self, tier: str | None) -> Iterator[Utterance]:
        by_name = {PurePosixPath(audio).stem: audio for audio in self.audio}
        for audio, text in self.texts.items():
            for timed in timed_text.read(self.folder / text, tier):
                recording = by_name.get(timed.recording or "", audio)
                speaker = timed.speaker or PurePosixPath(recording).with_suffix("").as_posix()
                yield Utterance(recording, timed.text, speaker, timed.place, timed.begin, timed.end)
        for audio in self.audio:
            if audio not in self.texts and len(self.texts) > 0:
                yield Utterance(audio, None, problem="no text of the same name")


def pairs(folder: Path) -> Pairs | None:
    """The folder's audio files and texts of the same names; None where no file has a text."""
    audio = audio_files(folder)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in other_files(folder):
        if PurePosixPath(name).suffix.lower() in (*timed_text.ENDINGS, TXT):
            by_stem[PurePosixPath(name).stem].append(name)
    once = {stem for stem, names in _by_stem(audio).items() if len(names) == 1}
    found = {}
    for name in audio:
        near = [
            text
            for text in by_stem[PurePosixPath(name).stem]
            if PurePosixPath(text).parent == PurePosixPath(name).parent
        ]
        chosen = near or (by_stem[PurePosixPath(name).stem] if PurePosixPath(name).stem in once else [])
        if chosen:
            found[name] = _one(folder, name, chosen)
    if not found:
        return None
    timed = [name for name, text in found.items() if _has_times(folder / text)]
    if timed and len(timed) < len(found):
        odd = next(name for name in found if name not in timed)
        raise InputError(f"{folder}: {found[timed[0]]} has times and {found[odd]} has none; keep them in two folders.")
    return Pairs(folder, tuple(audio), found, bool(timed))


def _by_stem(names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[PurePosixPath(name).stem].append(name)
    return found


def _has_times(path: Path) -> bool:
    return path.suffix.lower() != TXT or timed_text.is_audacity(path)


def _one(folder: Path, audio: str, texts: Sequence[str]) -> str:
    """With times, where one has them. Two that could each be meant are refused."""
    timed = [text for text in texts if not text.lower().endswith(TXT)] or list(texts)
    if timed[1:]:
        raise InputError(f"{folder}: {audio} has the texts {' and '.join(sorted(timed))}; keep one.")
    return timed[0]
