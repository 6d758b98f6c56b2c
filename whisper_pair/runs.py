"""A run's folder: which stage is finished, with what inputs, and where everything came from.

A stage writes into a folder beside its final one and takes its place only when whole. What it was made from stands in
`inputs.json`; a stage whose inputs are unchanged is skipped, one whose inputs changed is refused until the user says
--overwrite.
"""

import hashlib
import json
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
        output = self.folder.parent
        others = [file for file in output.iterdir() if file.name != "data"] if output.is_dir() else []
        if others and not (output / "config.yaml").is_file():
            raise InputError(f"{output}: holds files but no config.yaml of a run; choose another output folder.")
        for folder in () if overwrite else self._of_other_inputs():
            recorded = self._recorded(folder)
            why = "is not a run of ours"
            if recorded is not None:
                why = f"was made with {difference(recorded, self.inputs)}"
            raise InputError(f"{folder}: {why}; choose another output, or add --overwrite to replace it.")

    def begin(self, config: Config) -> None:
        """Makes room for the work, or goes on with it where it was begun with the same inputs. One process calls it."""
        for folder in self._of_other_inputs():
            recorded = self._recorded(folder)
            why = "is not a run of ours" if recorded is None else f"was made with {difference(recorded, self.inputs)}"
            print(f"{folder}: {why}; starting afresh", flush=True)
            shutil.rmtree(folder)
        try:
            self.work.mkdir(parents=True, exist_ok=True)
            (self.folder.parent / "config.yaml").write_text(dump_config(config), encoding="utf-8")
            write_json(self.work / "inputs.json", self.inputs)
        except OSError as error:
            raise InputError(f"output {self.folder.parent}: cannot be written ({error.strerror}).") from error

    def _of_other_inputs(self) -> list[Path]:
        begun = (folder for folder in (self.folder, self.work) if folder.exists())
        there = [folder for folder in begun if any(file.name != "inputs.json.partial" for file in folder.iterdir())]
        return [folder for folder in there if self._recorded(folder) != self.inputs]

    def finish(self, results: Path | None = None) -> None:
        """Puts `results` (the whole work folder, or a folder in it) in place and removes the rest."""
        results = results or self.work
        write_json(results / "inputs.json", self.inputs)
        shutil.rmtree(self.folder, ignore_errors=True)
        results.rename(self.folder)
        shutil.rmtree(self.work, ignore_errors=True)

    @staticmethod
    def _recorded(folder: Path) -> dict[str, Any] | None:
        try:
            return json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


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
    aside = path.with_name(path.name + ".partial")
    aside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(path)


def file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(config: Config, device: str) -> dict[str, Any]:
    """How a result came about: enough to repeat it."""
    return {
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "git_commit": _git_commit(),
        "hardware": hardware(device),
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
    import os

    import torch

    found: dict[str, Any] = {"device": device, "cpu_cores": os.cpu_count(), "platform": platform.machine()}
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        names = [line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if "model name" in line]
        found["cpu"] = names[0] if names else "unknown"
    if torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


def _git_commit() -> str | None:
    here = Path(__file__).parent
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None
