"""Kaldi data directories: wav.scp, text, utt2spk, segments.

    wav.scp   rec1 /data/rec1.wav          utt2spk   utt1 anna
    segments  utt1 rec1 0.00 2.35          text      utt1 goedemorgen allemaal

A command in wav.scp ("sph2pipe ... |") is never run, and an offset into an archive ("x.ark:123") never followed.
"""

from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError
from .described import Utterance, lines_of


def utterances(folder: Path, text: str | None) -> Iterator[Utterance]:
    """Raises InputError for a command in place of audio, and for lines that lack a field."""
    recordings = dict(_recordings(folder / "wav.scp"))
    texts = {} if text is None else _pairs(folder / "text", needed=True)
    speakers = _pairs(folder / "utt2spk", needed=False)
    if not (folder / "segments").is_file():
        for utterance, (place, audio) in recordings.items():
            yield Utterance(audio, texts.get(utterance), speakers.get(utterance, utterance), place)
        return
    for place, line in lines_of(folder / "segments"):
        fields = line.split()
        if len(fields) < 4:
            raise InputError(f"{folder}: {place} has {len(fields)} fields; expected utterance, recording, begin, end.")
        utterance, recording, *times = fields
        try:
            begin, end = float(times[0]), float(times[1])
        except ValueError as error:
            raise InputError(f"{folder}: {place}: {' '.join(times[:2])!r} are no times in seconds.") from error
        if recording not in recordings:
            raise InputError(f"{folder}: {place}: there is no recording {recording} in wav.scp.")
        _, audio = recordings[recording]
        to = None if end < 0 else end  # Kaldi writes -1 for the recording's end
        yield Utterance(audio, texts.get(utterance), speakers.get(utterance, recording), place, begin, to)


def _recordings(table: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """(recording, (place, path))"""
    for place, line in lines_of(table):
        name, *rest = line.split(maxsplit=1)
        audio = rest[0].strip() if rest else ""
        if audio.endswith("|") or audio.startswith("|"):
            raise InputError(
                f"{table}, {place.rpartition(', ')[2]}: {name} is a command, which is never run; write its output to "
                "a file and name that."
            )
        if not audio or audio == "-":
            raise InputError(f"{table}, {place.rpartition(', ')[2]}: {name} names no file.")
        yield name, (place, audio)


def _pairs(table: Path, needed: bool) -> dict[str, str]:
    """What each utterance is given in a file of two columns; the second may hold spaces."""
    if not table.is_file():
        if needed:
            raise InputError(f"{table}: there is no such file; for audio without text, set text: null.")
        return {}
    pairs = (line.split(maxsplit=1) for _, line in lines_of(table))
    return {name: rest[0].strip() if rest else "" for name, *rest in pairs}
