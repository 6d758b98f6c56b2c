"""Several files in one, and headers that are wrong about what follows them.

FFmpeg reads only the first of WAV, MP4, many Ogg and some FLAC files that were joined, and as much of a WAV as its
header says. So these are searched first for their own marks, and each part is read by itself. MP3, AAC, Matroska and
MPEG-TS files that were joined are one stream already.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import InputError
from .media import Identity, View

UNKNOWN = 0x7FFF0000  # a stated size from which on a WAV was written to a pipe, its length unknown
OGG_FIRST, OGG_LAST = 2, 4  # a page's flags
FLAC_MARKS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
SEARCHED_ONCE = 2**20  # bytes of a file that is searched once
_flac_starts: dict[Identity, list[int]] = {}
MP4_NESTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")


@dataclass(frozen=True)
class Part:
    """One of the files that were joined, or the only one."""

    view: View
    seconds: float | None = None  # of sound, where the bytes alone give it
    missing: float = 0.0  # seconds that its header states and that are not there
    cut: bool = False  # its end is missing
    straight: bool = True  # whether its times only grow


def parts(view: View, name: str) -> list[Part]:
    """The files in a view, at least one. Raises InputError where there is no audio in it, or its counts are absurd."""
    head = _bytes(view, 0, 12)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
        found = list(_waves(view))
        if found and all(part.seconds == 0 for part in found):
            raise InputError(f"{name}: the audio is empty.")
        return found or [Part(view)]
    if head[:4] == b"fLaC":
        return _flacs(view)
    if head[:4] == b"OggS":
        return _links(view)
    if head[4:8] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip"):
        return _films(view, name)
    return [Part(view)]


def grows(part: Part) -> bool:
    """Whether its times only grow, so that seeking works; Matroska begins again where files were joined."""
    head = _bytes(part.view, 0, 4)
    if head == b"\x1aE\xdf\xa3":
        return _end_of_matroska(part.view) >= part.view.size
    return part.straight


def _flacs(view: View) -> list[Part]:
    """A file begins at each mark of a FLAC file with its first block. A long file is searched once."""
    starts = _flac_starts.get(view.identity, []) if view.identity is not None else []
    starts = starts or [0, *_found(view, FLAC_MARKS)]
    if view.identity is not None and view.size > SEARCHED_ONCE:
        _flac_starts[view.identity] = starts
    return [Part(view.part(a, b)) for a, b in zip(starts, [*starts[1:], view.size], strict=True)]


def _found(view: View, marks: tuple[bytes, ...]) -> Iterator[int]:
    """Where one of the marks stands, after the first byte."""
    at, size = 1, max(map(len, marks))
    while len(block := _bytes(view, at, 2**20)) >= size:
        places = {place for mark in marks for place in _places(block, mark)}
        yield from (at + place for place in sorted(places))
        at += len(block) - size + 1


def _places(block: bytes, mark: bytes) -> Iterator[int]:
    place = block.find(mark)
    while place >= 0:
        yield place
        place = block.find(mark, place + 1)


def _end_of_matroska(view: View) -> int:
    """Where the first of the files that may have been joined ends; the view's size where it does not say."""
    at = 0
    for _ in range(2):  # the head and the segment
        head = _bytes(view, at, 12)
        length = 9 - head[4].bit_length() if len(head) == 12 and head[4] else 0
        if not length:
            return view.size
        size = int.from_bytes(head[4 : 4 + length], "big") & ((1 << 7 * length) - 1)
        if size == (1 << 7 * length) - 1:  # unknown: it was written to a pipe
            return view.size
        at += 4 + length + size
    return at


def _bytes(view: View, at: int, size: int) -> bytes:
    view.seek(at)
    return view.read(size)


def _waves(view: View) -> Iterator[Part]:
    """Each stretch of samples under a header that fits it."""
    at, form, long = 12, b"", None
    while len(head := _bytes(view, at, 8)) == 8:
        kind, size = head[:4], int.from_bytes(head[4:], "little")
        begin = at + 8
        if kind in (b"RIFF", b"RF64", b"BW64"):  # the next file
            at, form, long = begin + 4, b"", None
            continue
        if kind == b"ds64":
            long = int.from_bytes(_bytes(view, begin + 8, 8), "little")
        elif kind == b"fmt " and 16 <= size <= 4096:
            form = _bytes(view, begin, size)
        elif kind == b"data" and len(form) >= 16:
            stated = long if size == 0xFFFFFFFF and long else size
            end = _end_of_samples(view, begin, stated)
            yield _wave(view, form, begin, end, stated)
            at = end + (end - begin) % 2 if _is_chunk(_bytes(view, end + (end - begin) % 2, 8)) else end
            continue
        at = begin + size + size % 2


def _end_of_samples(view: View, begin: int, stated: int) -> int:
    """Where the header says, if a file or a chunk ends or begins there; otherwise the end of the file."""
    end = begin + stated
    if stated >= UNKNOWN and end > view.size:
        return view.size
    if end >= view.size - 1 or _is_chunk(_bytes(view, end, 8)) or _is_chunk(_bytes(view, end + 1, 8)):
        return min(end, view.size)
    return view.size


def _is_chunk(head: bytes) -> bool:
    return len(head) == 8 and all(chr(byte).isalnum() or byte in b" _-" for byte in head[:4]) and head[:4].isascii()


def _wave(view: View, form: bytes, begin: int, end: int, stated: int) -> Part:
    rate = int.from_bytes(form[8:12], "little")  # bytes a second
    head = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", len(form)) + form + b"\0" * (len(form) % 2)
    lost = begin + stated - end if stated < UNKNOWN else 0
    return Part(
        view.part(begin, end, head + b"data\xff\xff\xff\xff"),
        (end - begin) / rate if rate else None,
        max(0, lost) / rate if rate else 0.0,
    )


def _links(view: View) -> list[Part]:
    """A link begins where pages that open a stream (flag 2) follow pages that do not; where each has its own serial
    number, FFmpeg may refuse what comes after the first."""
    starts, first, flags = [0], True, OGG_LAST
    serials: list[bytes] = []
    at: int | None = 0
    while at is not None and (at := _next_page(view, at)) is not None:
        head = _bytes(view, at, 27)
        if len(head) < 27:
            flags = 0
            break
        flags, serial, segments = head[5], head[14:18], head[26]
        if flags & OGG_FIRST and not first:
            starts.append(at)
        if flags & OGG_FIRST and (not first or not serials):
            serials.append(serial)
        first = bool(flags & OGG_FIRST)
        at += 27 + segments + sum(_bytes(view, at + 27, segments))
    cut = not flags & OGG_LAST or (at is not None and at > view.size)
    if len(set(serials)) < len(starts):  # nothing separates them, so one stream
        return [Part(view, cut=cut, straight=len(starts) == 1)]
    ends = [*starts[1:], view.size]
    return [Part(view.part(a, b), cut=cut and b == view.size) for a, b in zip(starts, ends, strict=True)]


def _next_page(view: View, at: int) -> int | None:
    """The first page at or after `at`."""
    while at < view.size:
        found = _bytes(view, at, 4)
        if found == b"OggS":
            return at
        block = _bytes(view, at, 65_536)
        place = block.find(b"OggS", 1)
        if place >= 0:
            return at + place
        at += max(1, len(block) - 3)
    return None


def _films(view: View, name: str) -> list[Part]:
    """MP4 and MOV. A count of more samples than the file has bytes is refused."""
    starts = [0]
    seen: set[bytes] = set()
    for kind, at, begin, end in _boxes(view, 0, view.size):
        if kind == b"ftyp" and {b"moov", b"mdat"} <= seen:
            starts.append(at)
            seen = set()
        seen.add(kind)
        if kind in MP4_NESTS:
            _check_counts(view, begin, end, name)
    ends = [*starts[1:], view.size]
    return [Part(view.part(a, b)) for a, b in zip(starts, ends, strict=True)]


def _boxes(view: View, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """(kind, where it is, where its content begins, and ends)"""
    while at + 8 <= end:
        head = _bytes(view, at, 16)
        size, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16], "big"), at + 16
        last = end if size == 0 else at + size
        if last < begin:
            return
        yield kind, at, begin, min(last, end)
        at = last


def _check_counts(view: View, begin: int, end: int, name: str) -> None:
    for kind, _, inside, last in _boxes(view, begin, end):
        if kind in MP4_NESTS:
            _check_counts(view, inside, last, name)
        elif kind in (b"stsz", b"trun"):
            fields = _bytes(view, inside, 12)
            count = int.from_bytes(fields[8:12] if kind == b"stsz" else fields[4:8], "big")
            if count > view.size:
                raise InputError(f"{name}: claims {count} samples in {view.size} bytes; the file is damaged.")
