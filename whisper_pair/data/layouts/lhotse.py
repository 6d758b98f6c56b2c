"""Lhotse manifests: cuts, or recordings beside supervisions, in .jsonl or .jsonl.gz; lhotse itself is not needed.

Each supervision of a cut is an utterance; a cut without any is one without text. Audio that is in no file (commands,
addresses, bytes in the manifest) is refused, and so are cuts mixed of several recordings.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ..tables import parse_json
from .described import LINES, Utterance

Json = dict[str, object]
ENDINGS = (".jsonl", ".jsonl.gz")


def is_lhotse(path: Path) -> bool:
    """Whether the first line of a .jsonl or .jsonl.gz file is a cut or a supervision."""
    if not path.name.endswith(ENDINGS):
        return False
    try:
        _, first = next(_items(path), ("", {}))
    except InputError:
        return False
    cut = isinstance(first.get("recording"), dict) or first.get("type") in ("MonoCut", "MultiCut", "MixedCut")
    return cut or {"recording_id", "start", "duration"} <= first.keys()


def utterances(path: Path, text: str | None) -> Iterator[Utterance]:
    """Of a manifest of cuts, or of supervisions with recordings*.jsonl beside them."""
    recordings: dict[str, _Recording] | None = None
    for place, item in _items(path):
        if "recording_id" in item and "recording" not in item:
            recordings = _recordings_beside(path) if recordings is None else recordings
            known = recordings.get(str(item["recording_id"]))
            if known is None:
                raise InputError(f"{path.parent}: {place}: there is no recording {item['recording_id']} beside it.")
            yield _supervised(item, known, 0.0, place, text)
        else:
            yield from _of_cut(item, place, path, text)


def _of_cut(cut: Json, place: str, path: Path, text: str | None) -> Iterator[Utterance]:
    if not isinstance(cut.get("recording"), dict):
        kind = str(cut.get("type", "cut"))
        yield Utterance(str(cut.get("id", "")), None, place=place, problem=f"a {kind} of no single recording")
        return
    recording = _recording(cut["recording"], place, path)
    start, duration = _seconds(cut, "start", place, path), _seconds(cut, "duration", place, path)
    supervisions = cut.get("supervisions") or []
    if not isinstance(supervisions, list):
        raise InputError(f"{path.parent}: {place}: supervisions are no list.")
    for supervision in supervisions:
        if isinstance(supervision, dict):
            yield _supervised(supervision, recording, start, place, text)
    if not supervisions:
        yield Utterance(recording.audio, None, recording.name, place, start, start + duration, _channel(cut))


@dataclass(frozen=True, slots=True)
class _Recording:
    name: str
    audio: str


def _recording(value: object, place: str, path: Path) -> _Recording:
    about: Json = value if isinstance(value, dict) else {}
    sources = about.get("sources")
    source = sources[0] if isinstance(sources, list) and len(sources) == 1 else None
    if not isinstance(source, dict):
        raise InputError(f"{path.parent}: {place}: expected a recording of one file.")
    if source.get("type") != "file":
        kind = str(source.get("type"))[:20]
        raise InputError(
            f"{path.parent}: {place}: its audio is a {kind}, which is neither run nor fetched; save it to files first "
            "(cuts.save_audios)."
        )
    return _Recording(str(about.get("id", "")), str(source.get("source", "")))


def _supervised(item: Json, recording: _Recording, offset: float, place: str, text: str | None) -> Utterance:
    begin, duration = (item.get(key) for key in ("start", "duration"))
    if not isinstance(begin, int | float) or not isinstance(duration, int | float):
        return Utterance(recording.audio, None, place=place, problem="its start or duration is not a number of seconds")
    words = item.get("text" if text is None else text)
    speaker = item.get("speaker")
    return Utterance(
        recording.audio,
        words if isinstance(words, str) and text is not None else None,
        str(speaker) if speaker is not None else recording.name,
        place,
        max(0.0, round(offset + begin, 6)),
        round(offset + begin + duration, 6),
        _channel(item),
    )


def _channel(item: Json) -> str | None:
    """The one channel that is meant, which counts where its audio has several."""
    channel = item.get("channel")
    return str(channel) if isinstance(channel, int) else None


def _recordings_beside(path: Path) -> dict[str, _Recording]:
    """By their ids, out of the manifest named like that of the supervisions, or the only one there."""
    wanted = path.name.replace("supervisions", "recordings")
    found = [
        file for file in sorted(path.parent.iterdir()) if "recordings" in file.name and file.name.endswith(ENDINGS)
    ]
    chosen = [file for file in found if file.name == wanted] or found
    if len(chosen) != 1:
        raise InputError(f"{path}: names recordings, and needs {wanted} beside it.")
    return {str(item.get("id")): _recording(item, place, chosen[0]) for place, item in _items(chosen[0])}


def _seconds(item: Json, key: str, place: str, path: Path) -> float:
    value = item.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InputError(f"{path.parent}: {place}: its {key} is not a number of seconds.")
    return float(value)


def _items(path: Path) -> Iterator[tuple[str, Json]]:
    """("FILE, line N", the object) of each line. Raises InputError for a line that is no JSON object."""
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
            while line := file.readline(LINES):
                number += 1
                if not line.strip():
                    continue
                found = parse_json(line)
                if not isinstance(found, dict):
                    raise ValueError("no JSON object")
                yield f"{path.name}, line {number}", found
    except (ValueError, OSError, EOFError, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}, line {number + 1}: cannot be read as a Lhotse manifest ({error}).") from error
