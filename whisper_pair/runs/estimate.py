"""What a stage will take, before it takes it: hours, memory by part, disk.

`--dry-run` runs a stage's own code up to its training, on an output folder that vanishes, takes a few steps
(training/probe.py) and says what all of them will take.
"""

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..config import Config
from ..errors import InputError
from .disk import gigabytes

REUSED = ("main", "labels", "assistant")  # finished parts of a run that a rehearsed stage may build on


@dataclass(frozen=True)
class Estimate:
    """What a stage will take, and its sentence."""

    stage: str
    windows: int
    steps: int | None
    seconds: float
    memory: int  # bytes of a process
    where: str  # whose memory it is
    disk: int  # bytes in the output folder, at the most
    processes: int
    parts: Mapping[str, int] = field(default_factory=dict)  # of the memory: name -> bytes

    def __str__(self) -> str:
        steps = "" if self.steps is None else f", {self.steps} steps"
        hours = self.seconds / 3600
        together = f" ({hours * self.processes:.2g} device-hours)" if self.processes > 1 else ""
        parts = ", ".join(f"{gigabytes(size)} {name}" for name, size in self.parts.items() if size)
        return (
            f"{self.stage}: {self.windows} windows{steps}; about {hours:.2g} hours{together}, "
            f"{gigabytes(self.memory)} of {self.where} memory a process{f' ({parts})' if parts else ''}, "
            f"{gigabytes(self.disk)} of disk"
        )


@contextlib.contextmanager
def rehearsal(config: Config, stage: str) -> Iterator[Config]:
    """The config with an output folder that vanishes, and in it what earlier stages finished. Where the main is not
    trained yet, the checkpoint that it starts from takes its place, being of the same shape, as if it were."""
    with _vanishing() as folder:
        if stage != "train":
            for name in REUSED[: 2 if stage == "distill" else 3]:
                done = Path(config.output) / name
                if done.is_dir():
                    with contextlib.suppress(FileExistsError):  # another process of the launch was first
                        (folder / name).symlink_to(done.resolve())
            if config.train is not None and not (folder / "main").exists():
                config = replace(config, train=None, model=str(_as_if_trained(config, folder / "untrained")))
        (folder / "config.yaml").touch()  # a run's folder
        yield replace(config, output=str(folder), tracker="none")


def _as_if_trained(config: Config, folder: Path) -> Path:
    """The folder, with the files of the checkpoint that the main starts from and the record that training writes."""
    from ..checkpoints import CAPABILITIES_FILE, checkpoint_folder
    from ..training import planned_capabilities

    folder.mkdir(exist_ok=True)
    for file in checkpoint_folder(config.model, config.revision).iterdir():
        if file.name != CAPABILITIES_FILE:
            with contextlib.suppress(FileExistsError):  # another process of the launch was first
                (folder / file.name).symlink_to(file.resolve())
    planned_capabilities(config).save(folder)
    return folder


@contextlib.contextmanager
def _vanishing() -> Iterator[Path]:
    """An empty folder, the same for all processes of a launch, which have one parent; its first one removes it."""
    from ..training import WRITES  # which loads torch

    if "RANK" not in os.environ:
        with tempfile.TemporaryDirectory() as name:
            try:
                yield Path(name)
            finally:
                WRITES.flush()
        return
    folder = Path(tempfile.gettempdir()) / f"whisper-pair-rehearsal-{os.getppid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    mine = getattr(os, "getuid", lambda: found.st_uid)()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != mine:  # its name can be known beforehand
        raise InputError(f"{folder}: is another user's; remove it, or set TMPDIR to a folder of your own.")
    try:
        yield folder
    finally:
        WRITES.flush()
        if os.environ["RANK"] == "0":
            shutil.rmtree(folder, ignore_errors=True)


def peak_memory() -> tuple[int, str]:
    """(bytes at the highest so far, whose memory)."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated(), "GPU"
    try:
        import resource
    except ImportError:  # Windows
        import psutil  # which accelerate requires

        return psutil.Process().memory_info().peak_wset, "main"
    each = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * each, "main"


def memory_parts(trained, models: Iterable) -> dict[str, int]:
    """What fills the memory of a process that trains `trained` beside other `models`, after a probe: name -> bytes.

    Weights, gradients and AdamW's two moments follow from the parameters; the rest of the peak is what the steps held.
    """
    weights = {id(p): p for model in (trained, *models) for p in model.parameters()}.values()
    taught = [p for p in trained.parameters() if p.requires_grad]
    learning = sum(p.numel() * p.element_size() for p in {id(p): p for p in taught}.values())
    frozen = sum(p.numel() * p.element_size() for p in weights) - learning
    rest = max(0, peak_memory()[0] - frozen - 4 * learning)
    return {
        "frozen weights": frozen,
        "trained weights": learning,
        "gradients": learning,
        "AdamW": 2 * learning,
        "activations and the rest": rest,
    }
