"""One pass over a corpus's audio: how long each clip is, whether it can be decoded, and what identifies it.

Audio is decoded by several threads (PyAV and hashlib release the interpreter's lock). The results are kept in parts of
PART clips under `data.cache`, in a folder named for the corpus's contents, so that a stopped pass goes on and a later
stage or run decodes nothing twice. Processes that need the same pass wait for the one that makes it.

A streamed source is read the same way, and its clips are kept as 16 kHz, 16-bit FLAC, one file a part, in which each is
found by its offset. We chose that over packing windows on the fly: training addresses its samples by position, the same
ones whatever the number of processes and restarts, which needs them on disk. It also needs no shuffle buffer,
downloads once for all epochs and stages, and takes the memory of one part's index.
"""

import hashlib
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from ..audio import SAMPLE_RATE, Slice, Sound, audio_seconds, read_audio, to_pcm, total_seconds
from ..config import Source
from ..errors import InputError
from ..runs import whole_file, write_table, write_text
from .cells import Segment
from .clips import openable
from .fingerprints import fingerprint
from .hub import DataSet, HubSet, ParquetFiles, load_table, streamed_rows, what_failed
from .layouts import kind_of
from .rows import Row
from .sources import layout_of, rows_of

if TYPE_CHECKING:
    from tqdm import tqdm

logger = logging.getLogger(__name__)
PART = 512  # clips whose findings, and audio where it is streamed, are written together
AT_ONCE = 64  # clips in memory at a time
READER = 2  # version of how audio is read and judged; the results of another version are not used
DAMAGE = 0.1  # seconds that may be damaged in a clip, or a hundredth of it
SILENCE = 1e-3  # a peak of -60 dB: 33 steps of 16-bit audio


@dataclass(frozen=True, slots=True)
class Audit:
    """What decoding a clip found."""

    seconds: float
    sha256: str  # of its samples, before any resampling; "" where it was not decoded
    problem: str | None  # why it cannot be used
    detail: str  # the same in a sentence; where it can be used, what was odd about it, a line each
    start: float = 0.0  # seconds into its audio where it begins


@dataclass(frozen=True, slots=True)
class KeptClip:
    """A clip of a streamed source: its row, where its audio is in the part's file, and its audit."""

    name: str
    text: str | None
    speaker: str | None
    offset: int  # bytes
    size: int  # bytes
    seconds: float
    sha256: str
    problem: str | None
    detail: str
    start: float

    @classmethod
    def of(cls, row: Row, found: Audit, offset: int, size: int) -> Self:
        """A clip of `size` bytes at `offset` of its part."""
        audit = (found.seconds, found.sha256, found.problem, found.detail, found.start)
        return cls(row.name, row.text, row.speaker, offset, size, *audit)

    def opened(self, path: Path) -> tuple[Row, Audit]:
        """`path`: the file with the part's audio."""
        row = Row(self.name, Slice(path, self.offset, self.size), self.text, self.speaker)
        return row, Audit(self.seconds, self.sha256, self.problem, self.detail, self.start)


Kept = TypeVar("Kept", Audit, KeptClip)


def survey(source: Source, cache: str | None, longest: float | None) -> Generator[tuple[Row, Audit]]:
    """Every row with its audit; a clip over `longest` seconds is decoded up to there.

    `cache`: the folder of kept results; None keeps none. Raises InputError where a streamed source has no cache.
    """
    from tqdm import tqdm

    if source.stream and cache is None:
        raise InputError(f"{source.name}: a streamed source needs a folder to be kept in; set data.cache.")
    folder = None if cache is None else Path(cache) / _key(source, longest)
    layout = layout_of(source, cache)
    if source.corpus is not None and not isinstance(layout, HubSet):
        _say_once(source.name, kind_of(layout))
    with _lock(folder), tqdm(desc=f"reading {source.name}", unit="clip", leave=False, delay=1) as bar:
        if source.stream and folder is not None and isinstance(layout, HubSet | ParquetFiles):
            yield from _streamed(layout, folder, longest, bar)
        else:
            yield from _in_place(source, cache, folder, longest, bar)


@lru_cache
def _say_once(name: str, kind: str) -> None:
    """Says what a corpus was read as: the first time in a process, however often it is read."""
    logger.info("%s: read as %s", name, kind)


def audit(row: Row, longest: float | None) -> Audit:
    """Decodes a row's audio. Whatever goes wrong is the row's problem; nothing is raised."""
    name = f"{row.name} ({row.place})" if row.place else row.name
    if row.problem is not None or row.audio is None:
        problem = row.problem or "missing file"
        return Audit(0.0, "", problem, f"{name}: {problem}.")
    try:
        audio = openable(row.audio, name)
        if row.channel is not None and (there := _channels(audio, name)) > 1:
            return Audit(0.0, "", "channel", f"{name}: names channel {row.channel} of {there}; extract it first.")
        if row.segment is None:
            return _whole(audio, name, longest)
        return _part(row.segment, audio, name, longest)
    except (InputError, MemoryError) as error:
        return Audit(0.0, "", "unreadable", str(error) or f"{name}: too large to read.")
    except Exception as error:  # one bad file must not end the pass
        return Audit(0.0, "", "unreadable", f"{name}: cannot be read ({_in_a_line(error)}).")


Openable = Path | Slice | bytes


def _channels(audio: Openable, name: str) -> int:
    with Sound(audio, name) as sound:
        return sound.channels()


def _whole(audio: Openable, name: str, longest: float | None) -> Audit:
    with Sound(audio, name) as sound:
        return _decoded(sound, longest)


def _decoded(sound: Sound, longest: float | None) -> Audit:
    name, digest, peak = sound.name, hashlib.sha256(), 0.0
    frames: Counter[int] = Counter()  # by rate
    for mono, rate in sound.native():
        digest.update(to_pcm(mono).tobytes())
        frames[rate] += len(mono)
        peak = max(peak, float(np.abs(mono).max(initial=0.0)))
        if longest is not None and total_seconds(frames) > longest + 1:
            return Audit(sound.packet_seconds(), "", None, "")
    notes, seconds = sound.notes, total_seconds(frames)
    if seconds == 0:
        return Audit(0.0, "", "unreadable", f"{name}: the audio is empty.")
    if notes.lost > max(DAMAGE, seconds / 100):
        detail = f"{name}: {notes.lost:.1f} s of its {seconds:.1f} s are damaged."
        return Audit(seconds, "", "unreadable", detail)
    if notes.cut or notes.missing:
        return Audit(seconds, "", "truncated", f"{name}: the file is cut off after {seconds:.1f} s.")
    if peak < SILENCE:
        return Audit(seconds, digest.hexdigest(), "silent", f"{name}: is silent.")
    return Audit(seconds, digest.hexdigest(), None, "\n".join(notes.kinds))


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _part(segment: Segment, audio: Openable, name: str, longest: float | None) -> Audit:
    """Decodes a segment of the audio, which may turn out to be all of it."""
    length = _seconds_of(audio, os.stat(audio).st_mtime_ns) if isinstance(audio, Path) else audio_seconds(audio, name)
    try:
        start, seconds = segment.within(length)
    except ValueError as error:
        return Audit(0.0, "", "segment", f"{name}: {error}.")
    if start == 0 and seconds == length:
        return _whole(audio, name, longest)
    if longest is not None and seconds > longest:
        return Audit(seconds, "", None, "", start)
    samples = read_audio(audio, name, start, seconds)
    found = len(samples) / SAMPLE_RATE
    if found < seconds - 0.1:
        return Audit(found, "", "truncated", f"{name}: its segment is cut off after {found:.1f} s.")
    digest = hashlib.sha256(to_pcm(samples).tobytes()).hexdigest()
    silent = float(np.abs(samples).max(initial=0.0)) < SILENCE
    return Audit(seconds, digest, "silent" if silent else None, f"{name}: is silent." if silent else "", start)


@lru_cache(4096)
def _seconds_of(audio: Path, changed: int) -> float:
    """The length of a file; many segments are in one file, and its length may take decoding all of it."""
    return audio_seconds(audio)


def _in_place(
    source: Source, cache: str | None, folder: Path | None, longest: float | None, bar: "tqdm[Any]"
) -> Iterator[tuple[Row, Audit]]:
    rows = rows_of(source, cache)
    for _, known in _parts(folder, Audit):
        some = list(islice(rows, len(known)))
        if len(some) < len(known):
            raise InputError(f"{source.name}: has lost rows since {folder} was made; pin its revision or delete that.")
        yield from zip(some, known, strict=True)
    number = 0 if folder is None else len(list(folder.glob("part-*.parquet")))
    with ThreadPoolExecutor(_threads()) as pool:
        while some := list(islice(rows, PART)):
            audits: list[Audit] = []
            for start in range(0, len(some), AT_ONCE):
                audits += pool.map(lambda row: audit(row, longest), some[start : start + AT_ONCE])
                bar.update(len(some[start : start + AT_ONCE]))
            if folder is not None:
                _write_part(folder, number, audits)
            number += 1
            yield from zip(some, audits, strict=True)


def _streamed(source: DataSet, folder: Path, longest: float | None, bar: "tqdm[Any]") -> Iterator[tuple[Row, Audit]]:
    number, first = 0, 0
    for path, kept in _parts(folder, KeptClip):
        yield from (clip.opened(path.with_suffix(".flac")) for clip in kept)
        number, first = number + 1, first + len(kept)
    if (folder / "complete").is_file():
        return
    table = load_table(source)
    if number:
        table.load_state_dict(json.loads((folder / f"part-{number - 1:06d}.state").read_text(encoding="utf-8")))
    rows = _unbroken(streamed_rows(source, table, first), source)
    with ThreadPoolExecutor(_threads()) as pool:
        while clips := _convert(rows, folder / f"part-{number:06d}.flac", pool, longest, bar):
            state = folder / f"part-{number:06d}.state"  # where the stream stands: the next start goes on from there
            write_text(state, json.dumps(table.state_dict()))
            path = _write_part(folder, number, clips)
            yield from (clip.opened(path.with_suffix(".flac")) for clip in clips)
            number += 1
    (folder / "complete").touch()


def _unbroken(rows: Iterator[Row], source: DataSet) -> Iterator[Row]:
    """The rows of a stream. Raises InputError for whatever ends it too soon: datasets and its file systems raise many
    kinds of error."""
    try:
        yield from rows
    except Exception as error:
        raise InputError(
            f"{source.name}: the stream broke off ({what_failed(error)}); the same command goes on from where the last "
            f"{PART} clips began."
        ) from error


def _convert(
    rows: Iterator[Row], path: Path, pool: ThreadPoolExecutor, longest: float | None, bar: "tqdm[Any]"
) -> list[KeptClip]:
    """Writes the audio of the next PART rows into one file."""
    clips: list[KeptClip] = []
    with whole_file(path) as file:
        while len(clips) < PART and (some := list(islice(rows, min(AT_ONCE, PART - len(clips))))):
            for row, (found, flac) in zip(some, pool.map(lambda row: _as_flac(row, longest), some), strict=True):
                clips.append(KeptClip.of(row, found, file.tell(), len(flac)))
                file.write(flac)
            bar.update(len(some))
    if not clips:
        path.unlink()
    return clips


def _as_flac(row: Row, longest: float | None) -> tuple[Audit, bytes]:
    import soundfile

    found = audit(row, longest)
    if found.problem is not None or not found.sha256 or row.audio is None:
        return found, b""
    out = io.BytesIO()
    start, seconds = (0.0, None) if row.segment is None else (found.start, found.seconds)
    samples = read_audio(openable(row.audio, row.name), row.name, start, seconds)
    soundfile.write(out, to_pcm(samples), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return replace(found, start=0.0), out.getvalue()


def _parts(folder: Path | None, kind: type[Kept]) -> Iterator[tuple[Path, list[Kept]]]:
    import pyarrow.parquet

    for path in sorted(folder.glob("part-*.parquet")) if folder else ():
        yield path, [kind(**record) for record in pyarrow.parquet.read_table(path).to_pylist()]


def _write_part(folder: Path, number: int, kept: Sequence[Audit] | Sequence[KeptClip]) -> Path:
    """Writes one part, completely or not at all."""
    import pyarrow as pa

    kinds = {"seconds": pa.float64(), "start": pa.float64(), "offset": pa.int64(), "size": pa.int64()}
    schema = pa.schema({field.name: kinds.get(field.name, pa.string()) for field in fields(kept[0])})
    path = folder / f"part-{number:06d}.parquet"
    write_table(path, pa.Table.from_pylist([asdict(one) for one in kept], schema))
    return path


def _key(source: Source, longest: float | None) -> str:
    """Names the corpus's contents and when its files were written, since files of equal size may differ."""
    known = [
        fingerprint([replace(source, weight=1.0, restore_style=False)], times=True),
        longest,
        source.stream,
        PART,
        READER,
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _lock(folder: Path | None) -> AbstractContextManager[object]:
    """Held by the one process that makes the pass; the others then read its results."""
    if folder is None:
        return nullcontext()
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"data.cache {folder.parent}: cannot be written ({error.strerror}).") from error
    return FileLock(folder / "lock")


def _threads() -> int:
    return min(32, os.cpu_count() or 1)
