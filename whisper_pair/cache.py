"""Arrays on disk, a set of them for each window, each computed once.

Shards of about a gigabyte hold the windows one after another; an index holds, for each window, whether it is there and
the CRC-32 of its bytes. A window's entry in the index is written after its bytes, so a process that is stopped, or a
disk that fills up, leaves whole windows only. Windows are read through a memory map and proved against their CRC.
Several processes on one machine may fill a cache together.
"""

import copy
import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .runs import as_json, difference, versions, write_json

SHARD = 1 << 30  # bytes after which a new shard begins
MADE_BY = ("whisper-pair", "torch", "transformers")  # packages whose other version could compute other arrays


class WindowCache:
    """Of window i the arrays [lengths[i], width], named and typed by `fields`."""

    def __init__(
        self,
        folder: Path,
        fields: Mapping[str, tuple[str, int]],  # name -> dtype, width
        lengths: Sequence[int],  # rows of each window
        about: Mapping[str, Any],  # what the arrays are computed from: a cache made from anything else is built anew
    ):
        """Opens the cache, or makes room for it. Where processes share it, one comes first.

        Raises InputError where the disk has no room for all of it.
        """
        self.folder = folder
        self.fields = {name: (np.dtype(dtype), width) for name, (dtype, width) in fields.items()}
        self.lengths = lengths
        self._numbers: Sequence[int] = range(len(lengths))
        sizes = np.array(lengths, np.int64) * self.row_bytes
        starts = np.cumsum(sizes) - sizes
        self._shards = starts // SHARD
        firsts = {int(shard): int(start) for shard, start in zip(self._shards[::-1], starts[::-1], strict=True)}
        self._offsets = starts - np.array([firsts[int(shard)] for shard in self._shards], np.int64)
        self._sizes = sizes
        self._full = False
        made = {name: version for name, version in versions().items() if name in MADE_BY}
        shape = {"windows": len(lengths), "rows": int(sum(lengths)), "fields": fields}
        self._open(as_json({"made_by": made, **shape, **about}))

    def __getstate__(self) -> dict[str, Any]:
        """For loader workers that are not forked: a pickled map would be a copy that learns nothing new."""
        return {name: value for name, value in vars(self).items() if name != "_index"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._map_index()

    @property
    def row_bytes(self) -> int:
        return sum(dtype.itemsize * width for dtype, width in self.fields.values())

    def _open(self, about: dict[str, Any]) -> None:
        recorded = _recorded(self.folder / "about.json")
        if recorded is not None and recorded != about:
            print(f"{self.folder}: was made with {difference(recorded, about)}; it is built anew", flush=True)
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "index", "ab") as index:
            index.truncate(8 * len(self.lengths))
        self._map_index()
        missing = int(self._sizes[self._index[:, 0] == 0].sum())
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            raise InputError(
                f"{self.folder}: {missing / 1e9:.1f} GB are still to be cached and {free / 1e9:.1f} GB are free; free "
                "some, or turn the cache off (distill.cache=none, train.cache_encoder=false)."
            )
        if recorded != about:
            write_json(self.folder / f"about-{os.getpid()}.json", about)
            (self.folder / f"about-{os.getpid()}.json").replace(self.folder / "about.json")

    def _map_index(self) -> None:
        self._index = np.memmap(self.folder / "index", np.uint32, "r+", shape=(len(self.lengths), 2))  # is there, CRC

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, window: int) -> bool:
        return bool(self._index[self._numbers[window], 0])

    def of(self, windows: Sequence[int]) -> "WindowCache":
        """A view in which number i is windows[i]."""
        view = copy.copy(self)
        view._numbers = [self._numbers[window] for window in windows]
        return view

    def read(self, window: int) -> dict[str, np.ndarray] | None:
        """Name -> array, by value. None where the window is not there; one whose bytes are damaged is forgotten."""
        number = self._numbers[window]
        present, crc = (int(entry) for entry in self._index[number])
        if not present:
            return None
        try:
            raw = np.memmap(self._shard(number), np.uint8, "r", int(self._offsets[number]), (int(self._sizes[number]),))
        except (OSError, ValueError):  # the shard is gone or cut short
            raw = np.empty(0, np.uint8)
        if zlib.crc32(raw) != crc:
            print(f"{self._shard(number)}: window {number} is damaged; it is computed again", flush=True)
            self._index[number, 0] = 0
            return None
        found, at = {}, 0
        for name, (dtype, width) in self.fields.items():
            size = self.lengths[number] * width * dtype.itemsize
            found[name] = np.array(raw[at : at + size]).view(dtype).reshape(-1, width)
            at += size
        return found

    def write(self, window: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps a window, unless the disk is full: then the cache stays as it is, which is said once."""
        if self._full:
            return
        number = self._numbers[window]
        parts = [np.ascontiguousarray(arrays[name], dtype) for name, (dtype, _) in self.fields.items()]
        raw = b"".join(part.tobytes() for part in parts)
        if len(raw) != self._sizes[number]:
            shapes = ", ".join(str(part.shape) for part in parts)
            raise ValueError(f"window {number} has {self._sizes[number]} bytes in the cache, not arrays of {shapes}")
        try:
            _write(self._shard(number), raw, int(self._offsets[number]))
        except OSError as error:  # through a map, a full disk would end the process
            self._full = True
            kept = int((self._index[:, 0] > 0).sum())
            said = f"{self.folder}: cannot be written ({error.strerror}); its {kept} windows are kept, others computed"
            print(f"{said} each time", flush=True)
            return
        self._index[number] = 1, zlib.crc32(raw)

    def _shard(self, number: int) -> Path:
        return self.folder / f"shard-{self._shards[number]:05d}"


def _write(path: Path, raw: bytes, offset: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        view = memoryview(raw)
        while view:
            done = os.pwrite(file, view, offset)
            view, offset = view[done:], offset + done
    finally:
        os.close(file)


def _recorded(path: Path) -> dict[str, Any] | None:
    """What the cache says it was made from; {} where that cannot be read."""
    if not path.parent.is_dir() or not any(path.parent.iterdir()):
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
