"""The demo's *synthetic* data: Dutch sentences spoken by espeak-ng, and an untrained micro Whisper.

    python -m whisper_pair.synthetic OUT --clips 4000

writes OUT/{train,validation,test}/ (metadata.csv and 16 kHz WAV files) and OUT/micro-whisper/ (a checkpoint). All of it
follows from the settings: the same settings give the same bytes, and a second call finds its work done.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

from ..commands.command_line import guarded
from ..errors import InputError
from ..runs import discard, write_text

SPLITS = ("train", "validation", "test")
CHECKPOINT = "micro-whisper"
MANIFEST = "synthetic.json"


@dataclass(frozen=True)
class Settings:
    """What the data are made from."""

    clips: int = 2400  # sentences to train on
    validation: int = 100  # sentences
    test: int = 200  # sentences
    window: int = 4  # seconds: the longest clip, and the micro Whisper's window
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("clips", 1), ("validation", 1), ("test", 1), ("window", 3), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}: expected a whole number of at least {least}")


def synthesize(out: Path, settings: Settings | None = None, overwrite: bool = False) -> bool:
    """Writes the data into `out`; False where they are already there.

    Raises InputError where `out` holds data of other settings (and `overwrite` is False), or folders of other origin.
    """
    settings = settings or Settings()
    wanted = {"synthetic": True, "settings": asdict(settings), "code": code_digest(), "complete": True}
    manifest = out / MANIFEST
    if manifest.exists():
        found = json.loads(manifest.read_text(encoding="utf-8"))
        if all(found.get(key) == value for key, value in wanted.items()):
            return False
        same = {**found, "complete": True}.items() >= wanted.items()  # begun, and interrupted
        if not same and not overwrite:
            raise InputError(f"{out} holds synthetic data of other settings or older code: pass --overwrite")
    elif taken := [name for name in (*SPLITS, CHECKPOINT) if (out / name).exists()]:
        raise InputError(f"{out / taken[0]} was not made by this command: name another folder")
    for name in (*SPLITS, CHECKPOINT):
        if os.path.lexists(out / name):
            discard(out / name)
    out.mkdir(parents=True, exist_ok=True)
    write_manifest(manifest, {**wanted, "complete": False})
    make(out, settings)
    write_manifest(manifest, {**wanted, "versions": {name: version(name) for name in PACKAGES}})
    return True


PACKAGES = ("espeakng-loader", "numpy", "soxr", "tokenizers", "torch", "transformers")


def make(out: Path, settings: Settings) -> None:
    """Writes the speech of every split and the checkpoint into `out`."""
    from . import micro, speech  # here, so that a second call need not import torch

    counts = {"test": settings.test, "validation": settings.validation, "train": settings.clips}
    speech.speak(out, speech.plan(counts, settings.seed, settings.window), settings.window)
    micro.build(out / CHECKPOINT, micro.MicroWhisper(window=settings.window), settings.seed)


def code_digest() -> str:
    """SHA-256 of this package's source: other code makes other data."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def write_manifest(path: Path, content: dict[str, object]) -> None:
    """Writes what the data were made from, as JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """The command `python -m whisper_pair.synthetic`; returns its exit status."""
    parser = argparse.ArgumentParser(prog="whisper-pair synthesize", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the splits and the checkpoint")
    for field in fields(Settings):
        parser.add_argument(f"--{field.name}", type=int, default=field.default, help="default %(default)s")
    parser.add_argument("--overwrite", action="store_true", help="replace data made from other settings")
    options = vars(parser.parse_args(argv))
    out, overwrite = options.pop("out"), options.pop("overwrite")

    def make_all() -> None:
        made = synthesize(out, Settings(**options), overwrite)
        print(f"{out}: synthetic speech and {CHECKPOINT} {'written' if made else 'already there'}")

    return guarded(make_all)
