"""Opening files of unknown origin: the content decides what a file is, and nothing outside of it is read.

FFmpeg gets the bytes of one regular file (or of a part of it) without a name, a list of the formats that they may be,
and no way to open anything else: a playlist cannot lead it to other files or to the network. What it reads is counted,
so that a file made to be read forever comes to an end.
"""

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from ..errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer

SOUND_OR_FILM = (
    "3g2 3gp 3gpp aac ac3 adts aif aifc aiff alac amr ape asf au avi awb bwf caf dff divx dsf dss dts dv "
    "eac3 f4a f4v flac flv gxf iff ircam latm loas m2a m2ts m4a m4b m4r m4v mka mkv mlp mov mp1 mp2 mp3 mp4 "
    "mpa mpc mpe mpeg mpg mpga mts mxf nist nut oga ogg ogm ogv oma opus paf pvf qt ra rf64 rm rmvb shn snd "
    "sox sph spx svx tak thd ts tta vob voc w64 wav wave weba webm wma wmv wtv wv xwma"
)
# a file of another ending is recognized by its first bytes
READ = os.O_RDONLY  # with what this system has of the rest
for flag in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY"):
    READ |= getattr(os, flag, 0)
ENDINGS = frozenset(f".{ending}" for ending in SOUND_OR_FILM.split())
FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,avr,caf,dsf,dss,dts,dtshd,dv,eac3,epaf,flac,flv,gxf,iff,ircam,loas,matroska,"
    "mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,pvf,qcp,rm,shn,sox,tak,truehd,tta,voc,w64,wav,wtv,wv,xwma"
)
BEGINNINGS = (  # of audio files without a known ending
    b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b".snd", b"#!AMR",
    b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11", b"NIST_1A", b"FLV\x01", b"wvpk", b"MAC ", b"TTA1", b"\xff\xfb",
    b"\xff\xf1",
)  # fmt: skip
PLAYLISTS = {
    b"#extm3u": "a playlist (HLS or M3U)",
    b"ffconcat": "a list of files (ffconcat)",
    b"[playlist]": "a playlist (PLS)",
    b"[reference]": "a playlist (ASX)",
    b"<asx": "a playlist (ASX)",
    b"<smil": "a playlist (SMIL)",
    b"<mpd": "a playlist (DASH)",
    b"<smoothstreamingmedia": "a playlist (Smooth Streaming)",
    b"<playlist": "a playlist (XSPF)",
    b"v=0": "a description of a network stream (SDP)",
    b"http://": "a list of addresses",
    b"https://": "a list of addresses",
    b"rtsptext": "a playlist (QuickTime)",
}
READ_AGAIN = 16  # times a file's size that may be read in all: formats differ in how often they go back
SLACK = 64 * 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Slice:
    """A file within a file: a member of a tar, or a clip among those that were streamed."""

    path: Path
    offset: int  # bytes
    size: int  # bytes


Identity = tuple[int, int, int, int, int, int]  # device, inode, time of change, size, first and last byte


class View(io.RawIOBase):
    """The bytes of a file from `start` to `end`, after the bytes `head`. It has no name, so FFmpeg gets none."""

    def __init__(self, file: BinaryIO | io.FileIO | io.BytesIO, name: str, start: int, end: int, head: bytes = b""):
        super().__init__()
        self._file, self._called, self._start, self._head = file, name, start, head
        self.size = len(head) + max(0, end - start)
        self.identity: Identity | None = None  # of a file on disk, as it is now
        self._at = self._served = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position, in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position, and returns it."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence])
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Bytes from the position on: `size` of them, or all that are left."""
        left = max(0, self.size - self._at)
        size = left if size is None or size < 0 else min(size, left)
        self._served += size
        if self._served > READ_AGAIN * self.size + SLACK:
            raise InputError(f"{self._called}: the file has no end: it leads its reader in circles.")
        found = self._head[self._at : self._at + size]
        if len(found) < size:
            self._file.seek(self._start + self._at + len(found) - len(self._head))
            found += self._file.read(size - len(found)) or b""
        self._at += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer from the position on, and returns how many bytes it took."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def part(self, start: int, end: int, head: bytes = b"") -> "View":
        """Another view of the same file; `start` and `end` are bytes of this one."""
        shift = self._start - len(self._head)
        return View(self._file, self._called, shift + start, shift + min(end, self.size), head)

    def close_file(self) -> None:
        """Closes the file, and with it every view of it."""
        self._file.close()

    def fresh(self) -> None:
        """Restarts the count of what is read, for a reader that goes to another position."""
        self._served = 0


def view(source: str | Path | bytes | Slice, name: str) -> View:
    """A view of all of a source. Raises InputError where it is no regular file, or is a playlist."""
    found: View
    if isinstance(source, bytes):
        found = View(io.BytesIO(source), name, 0, len(source))
    else:
        path = source.path if isinstance(source, Slice) else source
        file = _regular(path, name)
        about = os.fstat(file.fileno())
        size = about.st_size
        start, end = (source.offset, source.offset + source.size) if isinstance(source, Slice) else (0, size)
        found = View(file, name, min(start, size), min(end, size))
        found.identity = (about.st_dev, about.st_ino, about.st_mtime_ns, size, start, end)
    refuse_playlist(found, name)
    return found


def _regular(path: str | Path, name: str) -> io.FileIO:
    """Opens a regular file. Raises InputError for anything else: a pipe or a device may block, or never end."""
    try:
        number = os.open(path, READ)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{name}: there is no such audio file.") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{name}: {path} cannot be read ({why}).") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise InputError(f"{name}: is a folder, a pipe or a device; expected a file.")
    return io.FileIO(number, "rb")


def refuse_playlist(found: View, name: str) -> None:
    """Raises InputError where the bytes are a list of other files."""
    found.seek(0)
    text = found.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    found.seek(0)
    if text.startswith(b"<?xml"):
        text = text.partition(b"?>")[2].lstrip()
    kind = next((kind for mark, kind in PLAYLISTS.items() if text.startswith(mark)), None)
    if kind is not None:
        raise InputError(f"{name}: is {kind}, and what one names is never opened; give the audio files themselves.")


def holds_sound(path: Path) -> bool:
    """Whether a file is audio or video, by its ending or otherwise by its first bytes."""
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        with _regular(path, str(path)) as file:
            head = file.read(12)
    except (InputError, OSError):
        return False
    return head.startswith(BEGINNINGS) or head[4:8] == b"ftyp"


def container(found: View, name: str) -> "InputContainer":
    """PyAV's reader of the bytes. Raises InputError where they are in no audio format that it knows."""
    import av

    def nothing_else(url: str, *_: object, **__: object) -> NoReturn:
        raise InputError(f"{name}: names another file, {url!r}, which is never opened.")

    options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
    try:
        return av.open(found, "r", options=options, metadata_errors="replace", io_open=nothing_else)
    except InputError:
        raise
    except (av.FFmpegError, ValueError, OSError, MemoryError, OverflowError) as error:
        raise InputError(f"{name}: cannot be decoded as audio.") from error
