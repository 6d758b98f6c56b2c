"""Speech corpora -> clips -> windows.

A clip is one row of a corpus. A window is what Whisper hears at once (30 s): one clip, or several of one speaker joined
with short silences, since Whisper pays for the whole window however little speech it holds. Everything here is decided
from headers and metadata; audio itself is read when a window is used.
"""

import csv
import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .audio import SAMPLE_RATE, audio_seconds, read_audio, to_pcm
from .config import Data, Source
from .errors import InputError

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


@dataclass(frozen=True)
class HubRow:
    """A row of a Hub data set, whose audio is fetched when it is read."""

    table: Any = field(repr=False, compare=False)
    row: int
    column: str


@dataclass(frozen=True)
class Clip:
    name: str  # says where the clip is from, in messages and labels
    audio: Path | HubRow
    seconds: float
    text: str | None
    speaker: str | None
    start: float = 0.0  # seconds into the audio where this clip begins: above 0 in the later pieces of a split clip

    def read(self) -> np.ndarray:
        """Float32 samples at 16 kHz. Raises InputError naming the clip."""
        if isinstance(self.audio, Path):
            samples = read_audio(self.audio, self.name)
        else:
            samples = read_audio(_hub_bytes(self.audio), self.name)
        begin = round(self.start * SAMPLE_RATE)
        return samples[begin : begin + math.ceil(self.seconds * SAMPLE_RATE)]


@dataclass(frozen=True)
class Window:
    clips: tuple[Clip, ...]
    gap: float = 0.0  # seconds of silence between two clips

    @property
    def name(self) -> str:
        first, rest = self.clips[0], len(self.clips) - 1
        at = f"@{first.start:.1f}" if first.start else ""
        return f"{first.name}{at}" + (f" +{rest}" if rest else "")

    @property
    def key(self) -> str:
        """The same for the same clips at the same gap: labels are looked up by it."""
        parts = [f"{clip.name}\t{clip.start}\t{clip.seconds}" for clip in self.clips]
        return hashlib.sha256("\n".join([str(self.gap), *parts]).encode()).hexdigest()[:24]

    @property
    def seconds(self) -> float:
        return sum(clip.seconds for clip in self.clips) + self.gap * (len(self.clips) - 1)

    @property
    def text(self) -> str | None:
        """The human text, or None where any clip lacks it."""
        texts = [clip.text for clip in self.clips]
        return None if any(text is None for text in texts) else " ".join(texts)

    def pcm(self) -> np.ndarray:
        """16-bit samples at 16 kHz of the whole window. Raises InputError naming a clip that cannot be read."""
        silence = np.zeros(round(self.gap * SAMPLE_RATE), np.int16)
        parts: list[np.ndarray] = []
        for clip in self.clips:
            parts += [silence, to_pcm(clip.read())] if parts else [to_pcm(clip.read())]
        return np.concatenate(parts)


@dataclass
class Corpus:
    """The usable clips of some sources, and why the others are not."""

    clips: list[Clip]
    dropped: Counter[str] = field(default_factory=Counter)

    def report(self, title: str) -> str:
        hours = sum(clip.seconds for clip in self.clips) / 3600
        lost = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))
        return f"{title}: {len(self.clips)} clips, {hours:.2f} h" + (f"; dropped {lost}" if lost else "")


def load_training_clips(sources: Sequence[Source], data: Data, window_seconds: float) -> Corpus:
    """Every usable clip; what cannot be used is counted by its reason."""
    corpus = Corpus([])
    for clip in _scan(sources, corpus.dropped, strict=False):
        if clip.seconds < data.min_seconds:
            corpus.dropped["too short"] += 1
        elif clip.text is not None and not clip.text.strip():
            corpus.dropped["empty text"] += 1
        elif clip.seconds <= window_seconds:
            corpus.clips.append(clip)
        elif data.long_audio == "split":
            corpus.clips += _split(clip, window_seconds)
        else:
            corpus.dropped[f"over {window_seconds:.0f} s"] += 1
    if not corpus.clips:
        raise InputError(f"data.train: no clip can be used ({corpus.report('training')}).")
    return corpus


def load_test_clips(sources: Sequence[Source], data: Data, window_seconds: float, split: str) -> list[Clip]:
    """Every clip of a validation or test set. Nothing may be lost from it in silence: a bad clip raises InputError."""
    clips, long = [], 0
    for clip in _scan(sources, Counter(), strict=True):
        if clip.seconds > window_seconds:
            if data.long_test_audio == "refuse":
                raise InputError(
                    f"data.{split}: {clip.name} lasts {clip.seconds:.1f} s; cut it to at most {window_seconds:.0f} s, "
                    "or set data.long_test_audio to drop."
                )
            long += 1
            continue
        if clip.text is None:
            raise InputError(f"data.{split}: {clip.name} has no text to score by; remove the clip or give its text.")
        clips.append(clip)
    if not clips:
        raise InputError(f"data.{split}: holds no clip that can be used.")
    if long:
        print(f"{split}: {len(clips)} clips; dropped {long} over {window_seconds:.0f} s")
    return clips


def drop_long_texts(corpus: Corpus, count_tokens: Callable[[list[str]], list[int]], limit: int) -> dict[str, int]:
    """Drops clips whose text needs more than `limit` tokens; returns each kept clip's count by name."""
    texts = [clip.text or "" for clip in corpus.clips]
    kept, counts = [], {}
    for clip, tokens in zip(corpus.clips, count_tokens(texts) if texts else [], strict=True):
        if tokens > limit:
            corpus.dropped[f"text over {limit} tokens"] += 1
        else:
            kept.append(clip)
            counts[clip.name] = tokens
    corpus.clips = kept
    if not kept:
        raise InputError(f"data.train: no clip can be used ({corpus.report('training')}).")
    return counts


def pack(
    clips: Sequence[Clip],
    data: Data,
    window_seconds: float,
    seed: int,
    tokens: dict[str, int] | None = None,
    max_tokens: int = 0,
) -> list[Window]:
    """Joins clips, in corpus order and within a speaker, into windows no longer than `window_seconds` or `max_tokens`.

    A clip with text is never joined with one without. A random share of the clips also gets a window of its own, so
    that the model keeps meeting short clips as tests hold them.
    """
    if not data.pack:
        return [Window((clip,)) for clip in clips]
    windows: list[Window] = []
    open_group: list[Clip] = []
    groups: dict[tuple, list[Clip]] = {}
    for clip in clips:
        groups.setdefault((clip.speaker, clip.text is None), []).append(clip)

    def room_for(clip: Clip) -> bool:
        joined = Window((*open_group, clip), data.pack_gap)
        within = tokens is None or sum(tokens[c.name] for c in joined.clips) <= max_tokens
        return joined.seconds <= window_seconds and within

    for group in groups.values():
        for clip in group:
            if open_group and not room_for(clip):
                windows.append(Window(tuple(open_group), data.pack_gap))
                open_group = []
            open_group.append(clip)
        windows.append(Window(tuple(open_group), data.pack_gap))
        open_group = []
    packed = {window.clips for window in windows}
    chance = random.Random(seed)
    alone = [Window((clip,), data.pack_gap) for clip in clips if chance.random() < data.unpacked_share]
    return windows + [window for window in alone if window.clips not in packed]


def windowing(data: Data) -> dict[str, Any]:
    """The settings that decide which windows a corpus gives."""
    return {k: v for k, v in asdict(data).items() if k not in ("train", "validation", "test", "workers")}


def fingerprint(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """What identifies the sources' contents: a folder's metadata and its files' names and sizes, a Hub revision."""
    found = []
    for source in sources:
        entry: dict[str, Any] = {"source": source.name, "text": source.text, "speaker": source.speaker}
        if source.folder:
            folder = Path(source.folder)
            metadata = _metadata_file(source)
            paths = (path for path in folder.rglob("*") if path.is_file())
            files = sorted((path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths)
            digest = hashlib.sha256(metadata.read_bytes())
            digest.update(json.dumps(files).encode())
            entry["sha256"] = digest.hexdigest()
        else:
            entry["revision"] = source.revision
        found.append(entry)
    return found


def _scan(sources: Sequence[Source], dropped: Counter[str], strict: bool) -> Iterator[Clip]:
    from tqdm import tqdm

    for source in sources:
        rows = _folder_rows(source, dropped, strict) if source.folder else _hub_rows(source)
        for name, audio, text, speaker in tqdm(rows, desc=f"reading {source.name}", unit="clip", leave=False, delay=2):
            try:
                seconds = audio_seconds(audio if isinstance(audio, Path) else _hub_bytes(audio), name)
            except InputError as error:
                if strict:
                    raise InputError(f"{error} Remove the clip from the set or mend it.") from error
                dropped["unreadable"] += 1
                continue
            yield Clip(name, audio, seconds, text, speaker)


def _folder_rows(source: Source, dropped: Counter[str], strict: bool) -> Iterator[tuple]:
    folder = Path(source.folder).resolve()
    metadata = _metadata_file(source)
    rows = _read_metadata(metadata)
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{metadata}: expected a row of named values on each line.")
    columns = list(rows[0]) if rows else ["file_name"]
    _need_columns(source, columns, ["file_name", source.text, source.speaker], str(metadata))
    for row in rows:
        _need_columns(source, list(row), ["file_name", source.text, source.speaker], str(metadata))
        path = _inside(folder, str(row["file_name"]), metadata)
        name = f"{source.folder}/{row['file_name']}"
        if not path.is_file():
            if strict:
                raise InputError(f"{name}: named in {metadata.name}, but there is no such file.")
            dropped["missing file"] += 1
            continue
        yield name, path, _text(row, source.text), _text(row, source.speaker)


def _inside(folder: Path, name: str, metadata: Path) -> Path:
    """The file that a row names. Raises InputError where links or `..` lead out of the folder."""
    try:
        path = (folder / name).resolve()
        path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, a link to itself
        raise InputError(f"{metadata}: file_name {name[:60]!r} is no file's name.") from error
    if not path.is_relative_to(folder):
        raise InputError(f"{metadata}: file_name {name!r} leaves the folder {folder}.")
    return path


def _metadata_file(source: Source) -> Path:
    folder = Path(source.folder)
    if not folder.is_dir():
        raise InputError(f"{source.folder}: there is no such folder; a source's folder holds metadata.csv and audio.")
    found = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"{source.folder}: holds none of {', '.join(METADATA)}.")
    return found


def _read_metadata(path: Path) -> list[dict]:
    try:
        if path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8-sig") as file:
                return list(csv.DictReader(file))
        if path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines if line.strip()]
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pylist()
    except (ValueError, OSError, RecursionError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]} ({' '.join(str(error).split())}).") from error


def _need_columns(source: Source, columns: list[str], wanted: list[str | None], where: str) -> None:
    for column in wanted:
        if column is not None and column not in columns:
            raise InputError(f"{where}: there is no column {column!r}; it has {', '.join(map(str, columns))}.")


def _text(row: dict, column: str | None) -> str | None:
    return None if column is None or row[column] is None else str(row[column])


def _hub_rows(source: Source) -> Iterator[tuple]:
    import datasets

    try:
        table = datasets.load_dataset(source.hub, source.config, split=source.split, revision=source.revision)
    except Exception as error:  # datasets raises many kinds; the user needs the one sentence
        raise InputError(f"{source.name}: the data set cannot be loaded ({' '.join(str(error).split())}).") from error
    _need_columns(source, table.column_names, [source.audio, source.text, source.speaker], source.name)
    table = table.cast_column(source.audio, datasets.Audio(decode=False))
    words = table.remove_columns([c for c in table.column_names if c not in (source.text, source.speaker)])
    for i, row in enumerate(words if words.column_names else ({} for _ in range(len(table)))):
        audio = HubRow(table, i, source.audio)
        yield f"{source.name}#{i}", audio, _text(row, source.text), _text(row, source.speaker)


def _hub_bytes(audio: HubRow) -> bytes | Path:
    cell = audio.table[audio.row][audio.column]
    return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"])


def _split(clip: Clip, window_seconds: float) -> list[Clip]:
    """Equal pieces that fit the window. Their text is unknown: the main labels them for distillation."""
    pieces = math.ceil(clip.seconds / window_seconds)
    length = clip.seconds / pieces
    return [Clip(clip.name, clip.audio, length, None, clip.speaker, i * length) for i in range(pieces)]
