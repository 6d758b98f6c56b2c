"""What the engine measured on this machine, kept for the next process, which then does not measure it again.

One small JSON file a machine and pair, in costs/ under $WHISPER_PAIR_CACHE, $XDG_CACHE_HOME/whisper-pair or
~/.cache/whisper-pair. It is named by a digest of all that a round's time depends on: device, threads, versions, types
and shapes, but not the weights' values. A damaged or foreign file is ignored, and where none can be written each
process measures for itself. Removing the folder is always safe.
"""

import contextlib
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import torch

from .decoding import LONGEST, Decoder, DraftTree, Engine, Times
from .decoding.round_times import Key
from .errors import InputError
from .runs import hardware, versions

PACKAGES = ("whisper-pair", "torch", "transformers")


class MeasuredRounds:
    """The `Store` of an engine's round times."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def load(self) -> dict[Key, Times]:
        """What was measured before on this machine for such a pair; nothing where the file is missing or damaged."""
        try:
            kept = json.loads(self._file().read_text(encoding="utf-8"))
            if kept["fingerprint"] != fingerprint(self.engine):
                return {}
            return dict(map(_entry, kept["rounds"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, InputError):  # no home
            return {}

    def save(self, known: dict[Key, Times]) -> None:
        """Merged with what other processes wrote meanwhile, atomically."""
        rounds = [
            {
                "batch_size": size,
                "timestamps": timestamps,
                "frames": frames,
                "seconds": times.chains,
                "trees": {tree.text: seconds for tree, seconds in times.trees.items()},
            }
            for (size, timestamps, frames), times in (self.load() | known).items()
        ]
        with contextlib.suppress(OSError, RuntimeError):  # no home, or one that cannot be written
            file = self._file()
            file.parent.mkdir(parents=True, exist_ok=True)
            aside = file.with_name(f"{file.name}.{os.getpid()}.partial")
            aside.write_text(json.dumps({"fingerprint": fingerprint(self.engine), "rounds": rounds}), encoding="utf-8")
            aside.replace(file)

    def _file(self) -> Path:
        text = json.dumps(fingerprint(self.engine), sort_keys=True)
        return folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def folder() -> Path:
    """Where the files are kept."""
    own = os.environ.get("WHISPER_PAIR_CACHE")
    if own:
        return Path(own) / "costs"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper-pair" / "costs"


def fingerprint(engine: Engine) -> dict[str, object]:
    """All that a round's time depends on, except other work on the machine."""
    device = engine.device
    return {
        "hardware": hardware(str(device)),
        "threads": torch.get_num_threads(),
        "versions": {name: version for name, version in versions().items() if name in PACKAGES},
        "trees": [tree.text for tree in engine.round_times.trees],
        "graphs": engine.graphs.enabled,
        "frames": engine.encoders.frames,
        "vocabulary": None if engine.draft_vocabulary is None else len(engine.draft_vocabulary),
        "main": shape_of(engine.main),
        "assistant": None if engine.draft is None else shape_of(engine.draft),
    }


def shape_of(decoder: Decoder) -> dict[str, object]:
    """The shapes and type of a decoder's weights."""
    like = {name: getattr(decoder, name) for name in ("heads", "width", "positions")}
    return like | {
        "dtype": str(decoder.dtype),
        "layers": len(decoder.layers),
        "inner": len(decoder.layers[0].feed_in[1]),
        "tokens": len(decoder.embeddings),
    }


def _entry(entry: dict[str, Any]) -> tuple[Key, Times]:
    """Raises ValueError for what could not have been measured."""
    size, timestamps, frames = entry["batch_size"], entry["timestamps"], entry["frames"]
    seconds = {int(count): float(value) for count, value in entry["seconds"].items()}
    trees = {DraftTree.of_text(text): float(value) for text, value in entry["trees"].items()}
    whole = type(size) is int and size >= 1 and type(timestamps) is bool
    whole = whole and (frames is None or (type(frames) is int and frames >= 1))
    lengths = {0, 1} <= seconds.keys() and all(0 <= count <= LONGEST for count in seconds)
    times = [*seconds.values(), *trees.values()]
    if not (whole and lengths and all(math.isfinite(value) and value > 0 for value in times)):
        raise ValueError("no times of rounds")
    return (size, timestamps, frames), Times(seconds, trees)
