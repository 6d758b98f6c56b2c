"""Arrays on disk, a set of them for each window, each computed once.

Shards of about a gigabyte hold the windows one after another. An index holds, for each window, whether it is there and
the CRC-32 of its bytes. A window's entry in the index is written after its bytes, so a process that is stopped, or a
disk that fills up, leaves whole windows only. What is read is checked against its CRC. Several processes on one machine
may fill a cache together.

A write does not wait: tensors are cast on their device and copied to the host, and a thread of its own computes their
checksum and writes them. Until a window is written, its own process reads it from memory; other processes do not see
it.
"""

import json
import logging
import os
import shutil
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..runs import as_json, difference, versions, write_json
from .write_behind import WRITES

logger = logging.getLogger(__name__)

SHARD = 1 << 30  # bytes after which a new shard begins
MADE_BY = ("whisper-pair", "torch", "transformers")  # packages whose other version could compute other arrays


class WindowCache:
    """Of window i the tensors [lengths[i], width], named and typed by `fields`."""

    def __init__(
        self,
        folder: Path,
        fields: Mapping[str, tuple[str, int]],  # name -> torch's name of the type, width
        lengths: Sequence[int],  # rows of each window
        about: Mapping[str, Any],  # what the tensors are computed from: a cache made from anything else is built again
    ):
        """Opens the cache, or makes room for it. Where processes share it, one must open it first.

        Raises InputError where the disk has no room for all of it.
        """
        self.folder = folder
        self.fields = {name: (getattr(torch, dtype), width) for name, (dtype, width) in fields.items()}
        self.lengths = lengths
        sizes = np.array(lengths, np.int64) * self.row_bytes
        starts = np.cumsum(sizes) - sizes
        self._shards = starts // SHARD
        firsts = {int(shard): int(start) for shard, start in zip(self._shards[::-1], starts[::-1], strict=True)}
        self._offsets = starts - np.array([firsts[int(shard)] for shard in self._shards], np.int64)
        self._sizes = sizes
        self._full = threading.Event()
        made = {name: version for name, version in versions().items() if name in MADE_BY}
        shape = {"windows": len(lengths), "rows": int(sum(lengths)), "fields": fields}
        self._open(as_json({"made_by": made, **shape, **about}))

    def __getstate__(self) -> dict[str, Any]:
        """For loader workers that are not forked: a pickled map would be a copy that no write reaches."""
        return {name: value for name, value in vars(self).items() if name not in ("_index", "_full")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _full=threading.Event())
        self._map_index()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of all tensors."""
        return sum(dtype.itemsize * width for dtype, width in self.fields.values())

    def _open(self, about: dict[str, Any]) -> None:
        WRITES.flush()  # another cache in this folder may still write
        recorded = _recorded(self.folder / "about.json")
        if recorded is not None and recorded != about:
            logger.warning("%s: was made with %s; it is built again", self.folder, difference(recorded, about))
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if recorded != about:  # first of all: a process that opens it meanwhile must not take it for another's
            write_json(self.folder / f"about-{os.getpid()}.json", about)
            (self.folder / f"about-{os.getpid()}.json").replace(self.folder / "about.json")
        with open(self.folder / "index", "ab") as index:
            index.truncate(8 * len(self.lengths))
        self._map_index()
        missing = int(self._sizes[self._index == 0].sum())
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            raise InputError(
                f"{self.folder}: {missing / 1e9:.1f} GB are still to be cached and {free / 1e9:.1f} GB are free; free "
                "some, or turn the cache off (distill.cache=none, train.cache_encoder=false)."
            )

    def _map_index(self) -> None:
        """One number a window, so that no reader sees half of an entry: 0, or its CRC-32 in the upper half and 1."""
        self._index = np.memmap(self.folder / "index", "<u8", "r+", shape=(len(self.lengths),))

    def __len__(self) -> int:
        return len(self.lengths)

    def __contains__(self, window: int) -> bool:
        """Whether it is on disk."""
        return bool(self._index[window])

    def read(self, window: int) -> dict[str, Tensor] | None:
        """Name -> tensor [length, width]. None where the window is not there or damaged; a damaged one is dropped."""
        waiting = WRITES.get((self.folder, window))
        if waiting is not None:
            return waiting.read()
        entry = int(self._index[window])
        if not entry:
            return None
        found = {
            name: torch.empty(self.lengths[window], width, dtype=dtype) for name, (dtype, width) in self.fields.items()
        }
        raw = [_bytes(tensor) for tensor in found.values()]
        if not _read(self._shard(window), raw, int(self._offsets[window])) or _checksum(raw) != entry >> 32:
            logger.warning("%s: window %d is damaged; it is computed again", self._shard(window), window)
            self._index[window] = 0
            return None
        return found

    def write(self, window: int, tensors: Mapping[str, Tensor]) -> None:
        """Has a window written soon. Once the disk is full the cache stays as it is, which is printed once.

        Waits only where too much is still to be written. The tensors may change afterwards.
        """
        if self._full.is_set():
            return
        shapes = {name: (self.lengths[window], width) for name, (_, width) in self.fields.items()}
        if any(tensors[name].shape != shape for name, shape in shapes.items()):
            given = ", ".join(f"{name} {tuple(tensors[name].shape)}" for name in shapes)
            raise ValueError(f"window {window} is {shapes} in the cache, not {given}")
        at_host = AtHost.of({name: (tensors[name].detach(), dtype) for name, (dtype, _) in self.fields.items()})
        WRITES.put((self.folder, window), at_host, int(self._sizes[window]), lambda what: self._keep(window, what))

    def _keep(self, number: int, what: "AtHost") -> None:
        if self._full.is_set() or self._index[number]:  # there already: whoever reads it must not see it change
            return
        raw = [_bytes(tensor) for tensor in what.read().values()]
        try:
            _write(self._shard(number), raw, int(self._offsets[number]))
        except OSError as error:  # through a map, a full disk would end the process
            self._full.set()
            kept = int((self._index > 0).sum())
            logger.warning(
                "%s: cannot be written (%s); its %d windows are kept, others computed each time",
                self.folder, error.strerror, kept,
            )  # fmt: skip
            return
        self._index[number] = _checksum(raw) << 32 | 1

    def _shard(self, number: int) -> Path:
        return self.folder / f"shard-{self._shards[number]:05d}"


@dataclass(frozen=True)
class AtHost:
    """Tensors in the host's memory. Copies from a GPU arrive while the GPU goes on."""

    tensors: dict[str, Tensor]
    arrived: Any  # a CUDA event; None: they have arrived

    @classmethod
    def of(cls, sources: Mapping[str, tuple[Tensor, torch.dtype]]) -> "AtHost":
        """Copies of tensors, in the types beside them."""
        gpus = {source.device for source, _ in sources.values() if source.is_cuda}
        tensors = {}
        for name, (source, dtype) in sources.items():
            tensors[name] = torch.empty(source.shape, dtype=dtype, pin_memory=source.is_cuda)
            # cast on the GPU: half as much to copy; on a CPU cast and copied at once
            tensors[name].copy_(source.to(dtype) if source.is_cuda else source, non_blocking=source.is_cuda)
        arrived = None
        for gpu in gpus:
            arrived = torch.cuda.Event()
            arrived.record(torch.cuda.current_stream(gpu))
        return cls(tensors, arrived)

    def read(self) -> dict[str, Tensor]:
        """Name -> tensor, once all have arrived."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.tensors


def _bytes(tensor: Tensor) -> memoryview:
    """A tensor's own memory."""
    return tensor.flatten().view(torch.uint8).numpy().data


def _checksum(raw: Sequence[memoryview]) -> int:
    found = 0
    for part in raw:
        found = zlib.crc32(part, found)
    return found


def _read(path: Path, raw: Sequence[memoryview], offset: int) -> bool:
    """Fills `raw`; False where the file is gone or cut short."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return all(file.readinto(part) == len(part) for part in raw)
    except OSError:
        return False


def _write(path: Path, raw: Sequence[memoryview], offset: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)  # Windows would change bytes
    try:
        os.lseek(file, offset, os.SEEK_SET)
        for part in raw:
            while part:
                part = part[os.write(file, part) :]
    finally:
        os.close(file)


def _recorded(path: Path) -> dict[str, Any] | None:
    """What the cache was made from, as recorded beside it; {} where that cannot be read, None for a new cache."""
    if not (path.parent / "index").exists() and not path.exists():
        return None  # nothing is there, or another process has just begun
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
