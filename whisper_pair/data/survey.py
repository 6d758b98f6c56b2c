"""One pass over a corpus's audio: how long each clip is, whether it can be heard, and what identifies it.

Audio is decoded by several threads (PyAV and hashlib let go of the interpreter). What is found is kept in
parts of PART clips under `data.cache`, in a folder named for the corpus's contents, so that a pass that is stopped goes
on and a later stage or run need not listen again. Processes that need the same pass wait for the one that does it.

A streamed source is read the same way, and its clips are kept as 16 kHz, 16-bit FLAC, one file a part, in which each is
found by its offset. We chose that over packing windows on the fly: training addresses its samples by position, the
same ones whatever the number of processes and restarts, and only what lies on disk can be addressed so. It also needs
no shuffle buffer, downloads once for all epochs and stages, and takes the memory of one part's index.
"""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import SAMPLE_RATE, Slice, Sound, audio_seconds, read_audio, to_pcm, total_seconds
from ..config import Source
from ..errors import InputError
from ..runs import whole_file, write_table, write_text
from .clips import openable
from .fingerprints import fingerprint
from .sources import Row, load_table, rows_of, streamed_rows, what_failed

PART = 512  # clips whose findings, and audio where it is streamed, are written together
AT_ONCE = 64  # clips in memory at a time
READER = 2  # numbers how audio is read and judged, so that what an older one found is not taken for this one's
DAMAGE = 0.1  # seconds that may be damaged in a clip, or a hundredth of it
SILENCE = 1e-3  # a peak of -60 dB: 33 steps of 16-bit audio


@dataclass(frozen=True, slots=True)
class Audit:
    """What listening to a clip found."""

    seconds: float
    sha256: str  # of its samples, before any resampling; "" where it was not decoded
    problem: str | None  # why it cannot be used
    detail: str  # the same in a sentence; where it can be used, what was odd about it, a line each
    start: float = 0.0  # where in its audio it begins


def survey(source: Source, cache: str | None, longest: float | None) -> Iterator[tuple[Row, Audit]]:
    """Every row with its audit; a clip over `longest` seconds is decoded up to there."""
    from tqdm import tqdm

    if source.stream and cache is None:
        raise InputError(f"{source.name}: a streamed source needs a folder to be kept in; set data.cache.")
    folder = None if cache is None else Path(cache) / _key(source, longest)
    walk = _streamed if source.stream else _in_place
    with _lock(folder), tqdm(desc=f"reading {source.name}", unit="clip", leave=False, delay=1) as bar:
        yield from walk(source, folder, longest, bar)


def audit(row: Row, longest: float | None) -> Audit:
    """Whatever goes wrong with a row is the row's problem."""
    name = f"{row.name} ({row.place})" if row.place else row.name
    if row.problem is not None or row.audio is None:
        problem = row.problem or "missing file"
        return Audit(0.0, "", problem, f"{name}: {problem}.")
    try:
        audio = openable(row.audio, name)
        if row.channel is not None and (there := _channels(audio, name)) > 1:
            return Audit(0.0, "", "channel", f"{name}: asks for channel {row.channel} of {there}; cut it out before.")
        return _whole(audio, name, longest) if row.segment is None else _part(row, audio, name, longest)
    except (InputError, MemoryError) as error:
        return Audit(0.0, "", "unreadable", str(error) or f"{name}: too large to read.")
    except Exception as error:  # whatever one file brings about is that file's
        return Audit(0.0, "", "unreadable", f"{name}: cannot be read ({_in_a_line(error)}).")


def _channels(audio: Path | Slice | bytes, name: str) -> int:
    with Sound(audio, name) as sound:
        return sound.channels()


def _whole(audio: Path | Slice | bytes, name: str, longest: float | None) -> Audit:
    with Sound(audio, name) as sound:
        return _listen(sound, longest)


def _listen(sound: Sound, longest: float | None) -> Audit:
    name, digest, peak, frames = sound.name, hashlib.sha256(), 0.0, Counter()
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


def _part(row: Row, audio: Path | Slice | bytes, name: str, longest: float | None) -> Audit:
    """A segment of it; where that is the whole after all, the whole."""
    length = _seconds_of(audio, os.stat(audio).st_mtime_ns) if isinstance(audio, Path) else audio_seconds(audio, name)
    try:
        start, seconds = row.segment.within(length)
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
    """Many segments lie in one file, whose length may take decoding it."""
    return audio_seconds(audio)


def _in_place(source: Source, folder: Path | None, longest: float | None, bar) -> Iterator[tuple[Row, Audit]]:
    rows = rows_of(source)
    for _, records in _parts(folder):
        some = list(islice(rows, len(records)))
        if len(some) < len(records):
            raise InputError(f"{source.name}: has lost rows since {folder} was made; pin its revision or delete that.")
        yield from ((row, Audit(**record)) for row, record in zip(some, records, strict=True))
    number = 0 if folder is None else len(list(folder.glob("part-*.parquet")))
    with ThreadPoolExecutor(_threads()) as pool:
        while some := list(islice(rows, PART)):
            audits = []
            for start in range(0, len(some), AT_ONCE):
                audits += pool.map(lambda row: audit(row, longest), some[start : start + AT_ONCE])
                bar.update(len(some[start : start + AT_ONCE]))
            if folder is not None:
                _write_part(folder, number, [asdict(one) for one in audits])
            number += 1
            yield from zip(some, audits, strict=True)


def _streamed(source: Source, folder: Path, longest: float | None, bar) -> Iterator[tuple[Row, Audit]]:
    number, first, state = 0, 0, None
    for path, records in _parts(folder):
        yield from (_kept(path.with_suffix(".flac"), record) for record in records)
        number, first = number + 1, first + len(records)
    if (folder / "complete").is_file():
        return
    table = load_table(source)
    if number:
        state = json.loads((folder / f"part-{number - 1:06d}.state").read_text(encoding="utf-8"))
        table.load_state_dict(state)
    rows = _unbroken(streamed_rows(source, table, first), source)
    with ThreadPoolExecutor(_threads()) as pool:
        while records := _convert(rows, folder / f"part-{number:06d}.flac", pool, longest, bar):
            state = folder / f"part-{number:06d}.state"  # where the stream stands: the next start goes on from there
            write_text(state, json.dumps(table.state_dict()))
            path = _write_part(folder, number, records)
            yield from (_kept(path.with_suffix(".flac"), record) for record in records)
            number += 1
    (folder / "complete").touch()


def _unbroken(rows: Iterator[Row], source: Source) -> Iterator[Row]:
    """The rows of a stream, or the one sentence for whatever ends it too soon: datasets and its file systems raise many
    kinds of error."""
    try:
        yield from rows
    except Exception as error:
        raise InputError(
            f"{source.name}: the stream broke off ({what_failed(error)}); the same command goes on from where the last "
            f"{PART} clips began."
        ) from error


def _convert(rows: Iterator[Row], path: Path, pool: ThreadPoolExecutor, longest: float | None, bar) -> list[dict]:
    """The next PART rows' audio in one file, and what is known of each."""
    records: list[dict] = []
    with whole_file(path) as file:
        while len(records) < PART and (some := list(islice(rows, min(AT_ONCE, PART - len(records))))):
            for row, (found, flac) in zip(some, pool.map(lambda row: _as_flac(row, longest), some), strict=True):
                known = {"name": row.name, "text": row.text, "speaker": row.speaker}
                records.append(known | {"offset": file.tell(), "size": len(flac)} | asdict(found))
                file.write(flac)
            bar.update(len(some))
    if not records:
        path.unlink()
    return records


def _as_flac(row: Row, longest: float | None) -> tuple[Audit, bytes]:
    import soundfile

    found = audit(row, longest)
    if found.problem is not None or not found.sha256:
        return found, b""
    out = io.BytesIO()
    part = (0.0, None) if row.segment is None else (found.start, found.seconds)
    soundfile.write(out, to_pcm(read_audio(row.audio, row.name, *part)), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return replace(found, start=0.0), out.getvalue()


def _kept(path: Path, record: dict[str, Any]) -> tuple[Row, Audit]:
    record = dict(record)
    audio = Slice(path, record.pop("offset"), record.pop("size"))
    row = Row(record.pop("name"), audio, record.pop("text"), record.pop("speaker"))
    return row, Audit(**record)


def _parts(folder: Path | None) -> Iterator[tuple[Path, list[dict]]]:
    import pyarrow.parquet

    for path in sorted(folder.glob("part-*.parquet")) if folder else ():
        yield path, pyarrow.parquet.read_table(path).to_pylist()


def _write_part(folder: Path, number: int, records: list[dict]) -> Path:
    """Whole or absent."""
    import pyarrow as pa

    kinds = {"seconds": pa.float64(), "start": pa.float64(), "offset": pa.int64(), "size": pa.int64()}
    schema = pa.schema({name: kinds.get(name, pa.string()) for name in records[0]})
    path = folder / f"part-{number:06d}.parquet"
    write_table(path, pa.Table.from_pylist(records, schema))
    return path


def _key(source: Source, longest: float | None) -> str:
    """Names the corpus's contents, and when its files were written: of equal size, they may still differ."""
    known = [fingerprint([replace(source, weight=1.0)], times=True), longest, source.stream, PART, READER]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _lock(folder: Path | None):
    """Held by the one process that makes the pass; the others then read what it found."""
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
