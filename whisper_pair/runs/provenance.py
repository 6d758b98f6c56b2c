"""How a result was made: command, versions, commit, hardware, seed, and what would not repeat."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ..config import Config

PACKAGES = ("whisper-pair", "torch", "transformers", "datasets", "accelerate", "peft", "numpy")


def provenance(config: Config, device: str) -> dict[str, Any]:
    """How a result was made: enough to repeat it."""
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
    """Of Python and of the packages that decide results; those not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(device: str) -> dict[str, Any]:
    """The device in use, the CPU and the GPUs."""
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


def git_commit(package: Path = Path(__file__).parent.parent) -> str | None:
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
