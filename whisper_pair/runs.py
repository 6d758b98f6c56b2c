"""A run's folder: which stage is finished, with what inputs, and where everything came from.

A stage writes into a folder beside its final one and takes its place only when whole. What it was made from stands in
`inputs.json`; a stage whose inputs are unchanged is skipped, one whose inputs changed is refused until the user says
--overwrite.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from .config import Config, dump_config
from .errors import InputError
from .escaping import terminal
from .files import write_text

# What a run that was killed in its first moment may leave in a folder that is otherwise empty.
BEGINNINGS = (".lock", "config.yaml.partial", "inputs.json.partial")
PACKAGES = ("whisper-pair", "torch", "transformers", "datasets", "accelerate", "peft", "numpy")


@dataclass(frozen=True)
class Stage:
    """One stage's results in `folder`, and its unfinished work in `folder.partial`."""

    folder: Path
    inputs: dict[str, Any]  # everything that decides the results

    @property
    def work(self) -> Path:
        return self.folder.with_name(self.folder.name + ".partial")

    def finished(self) -> bool:
        return self._recorded(self.folder) == self.inputs

    def refuse_other_inputs(self, overwrite: bool) -> None:
        """InputError where the run's folder is not ours, or holds results or unfinished work of other inputs."""
        refuse_foreign(self.folder.parent)
        for folder in () if overwrite else self._of_other_inputs():
            recorded = self._recorded(folder)
            why = "is not a run of ours"
            if recorded is not None:
                why = f"was made with {difference(recorded, self.inputs)}"
            raise InputError(f"{folder}: {why}; choose another output, or add --overwrite to replace it.")

    def begin(self, config: Config) -> None:
        """Makes room for the work, or goes on with it where it was begun with the same inputs. One process calls it."""
        self.tidy()
        for folder in self._of_other_inputs():
            recorded = self._recorded(folder)
            why = "is not a run of ours" if recorded is None else f"was made with {difference(recorded, self.inputs)}"
            print(terminal(f"{folder}: {why}; starting afresh"), flush=True)
            discard(folder)
        try:  # in this order: stopped anywhere in between, what is there is still known as ours
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.folder.parent / "config.yaml", dump_config(config))
            self.work.mkdir(exist_ok=True)
            write_json(self.work / "inputs.json", self.inputs)
        except OSError as error:
            raise InputError(f"output {self.folder.parent}: cannot be written ({error.strerror}).") from error

    def tidy(self) -> None:
        """Removes what a run that was killed while it put its results in place has left over."""
        for folder in (self.folder, self.work):
            shutil.rmtree(_aside(folder), ignore_errors=True)
        if self.finished() and self.work.exists():
            with contextlib.suppress(FileNotFoundError):  # another process of the run was first
                discard(self.work)

    def _of_other_inputs(self) -> list[Path]:
        there = [folder for folder in (self.folder, self.work) if _holds_more_than(folder, *BEGINNINGS)]
        return [folder for folder in there if self._recorded(folder) != self.inputs]

    def finish(self, results: Path | None = None) -> None:
        """Puts `results` (the whole work folder, or a folder in it) in place and removes the rest.

        Killed at any moment, it leaves the results whole: in place, or in the work folder, from where the same run puts
        them there again.
        """
        results = results or self.work
        write_json(results / "inputs.json", self.inputs)
        if self.folder.exists():
            discard(self.folder)
        results.rename(self.folder)
        self.tidy()

    @staticmethod
    def _recorded(folder: Path) -> dict[str, Any] | None:
        try:
            return json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def refuse_foreign(output: Path) -> None:
    """InputError for a folder that holds something, but no run."""
    if _holds_more_than(output, *BEGINNINGS, "data") and not (output / "config.yaml").is_file():
        raise InputError(f"{output}: holds files but no config.yaml of a run; choose another output folder.")


def refuse_links(output: Path) -> None:
    """InputError for a link that leads out of a run's folder: what is written through it would land elsewhere."""
    for folder, folders, files in os.walk(output):
        for name in (*folders, *files):
            link = Path(folder, name)
            if link.is_symlink() and not _leads_into(link, output):
                raise InputError(
                    f"{link}: is a link that leads out of the run's folder, where a run does not write; remove it, or "
                    "put what it leads to in its place (`output` itself may be a link)."
                )


def _leads_into(link: Path, folder: Path) -> bool:
    try:
        return link.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # one that leads to itself
        return False


def discard(folder: Path) -> None:
    """Removes a folder. It loses its name first, so that one half removed is never taken for a whole one.

    Of a link, the link alone.
    """
    if folder.is_symlink():
        folder.unlink()
        return
    aside = _aside(folder)
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    shutil.rmtree(aside)


def _aside(folder: Path) -> Path:
    return folder.with_name(folder.name + ".removed")


def _holds_more_than(folder: Path, *names: str) -> bool:
    return folder.is_dir() and any(path.name not in names for path in folder.iterdir())


def difference(old: Any, new: Any, path: str = "") -> str:
    """The first place where two JSON trees differ, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(k for k in old if k not in new)]:
            if old.get(key) != new.get(key):
                return difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            if a != b:
                return difference(a, b, f"{path}.{i}")
    return f"{path} = {json.dumps(old, ensure_ascii=False)}, not {json.dumps(new, ensure_ascii=False)}"


def as_json(value: Any) -> Any:
    """Through JSON and back, so that what is compared is what was stored."""
    return json.loads(json.dumps(value))


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(config: Config, device: str) -> dict[str, Any]:
    """How a result came about: enough to repeat it."""
    return {
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "git_commit": git_commit(),
        "hardware": hardware(device),
        "determinism": determinism(device),
        "seed": config.seed,
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(device: str) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {"device": device, "cpu_cores": os.cpu_count(), "platform": platform.machine()}
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        names = [line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if "model name" in line]
        found["cpu"] = names[0] if names else "unknown"
    if torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


def determinism(device: str) -> dict[str, Any]:
    """Whether the same seed gives the same bits on this device, and what does not repeat.

    The list follows torch's notes on reproducibility; the settings are those in force.
    """
    import torch

    clocks = ["which of several validations of stage 2 is best: it rests on a measured cost"]
    if not device.startswith("cuda"):
        return {"same_seed_same_weights": True, "varies": clocks}
    enforced = torch.are_deterministic_algorithms_enabled()
    kernels = [
        "sums by atomic addition: gradients of embeddings and of indexing",
        "the backward pass of flash and memory-efficient attention",
        "the order of additions in an all-reduce over several GPUs",
    ]
    return {
        "same_seed_same_weights": False,
        "varies": clocks if enforced else [*kernels, *clocks],
        "deterministic_algorithms": enforced,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def git_commit(package: Path = Path(__file__).parent) -> str | None:
    """The commit of the package's own checkout, with "-dirty" where tracked files differ from it.

    None where the package is no checkout: installed inside another project's repository, that one's commit says nothing
    of it. It is one where the repository's top is the package's own parent, and tracks it and our pyproject.toml.
    """
    try:
        top = Path(_git(package, "rev-parse", "--show-toplevel"))
        tracked = _git(package, "ls-files", "--", "__init__.py", "../pyproject.toml").splitlines()
        if top.resolve() != package.resolve().parent or len(tracked) < 2 or not _is_ours(top / "pyproject.toml"):
            return None
        dirty = _git(package.parent, "status", "--porcelain", "--untracked-files=no")
        return _git(package, "rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _is_ours(project: Path) -> bool:
    return 'name = "whisper-pair"' in project.read_text(encoding="utf-8", errors="replace")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
