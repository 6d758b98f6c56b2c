"""Shows that a change of the code changed nothing: compares what two runs of one config made, before and after it.

    OMP_NUM_THREADS=1 whisper-pair run CONFIG output=BEFORE     # then change the code, and run it with output=AFTER
    python benchmarks/same.py BEFORE AFTER

Prints the SHA-256 of both runs' main, assistant, labels and report, and exits with status 1 where one differs. Of a
report all figures count that no clock decides. The runs must share seed, machine and number of threads.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECTIONS = ("pair", "data", "acceptance", "quality", "identity", "utterances")
# Figures that a clock decides, itself or through the draft length that it chooses.
CLOCKED = {"predicted_speedup", "best_draft_tokens", "counters", "rounds", "drafted", "accepted", "draft_tokens"}
CLOCKED |= {"main_seconds", "pair_seconds", "speedup", "speedup_interval", "speedup_verdict"}


def tensors(folder: Path) -> str:
    """Of all names, types, shapes and bytes of a checkpoint's weights."""
    from safetensors import safe_open

    found = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in sorted(weights.keys()):
                tensor = weights.get_tensor(name).contiguous()
                found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                found.update(tensor.view(-1).numpy().tobytes())
    return found.hexdigest()


def rows(folder: Path) -> str:
    """Of a run's labels."""
    import pyarrow.parquet

    return digest(pyarrow.parquet.read_table(folder / "labels.parquet").to_pylist())


def figures(folder: Path) -> str:
    """Of a run's report, without what a clock decides."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    sections = {name: report[name] for name in SECTIONS}
    places = ("main", "start", "assistant")
    sections["pair"] = {name: value for name, value in sections["pair"].items() if name not in places}
    return digest(without_clocked(sections))


def without_clocked(node: Any) -> Any:
    """A part of a report without the figures that a clock decides."""
    if isinstance(node, dict):
        return {name: without_clocked(value) for name, value in node.items() if name not in CLOCKED}
    return [without_clocked(item) for item in node] if isinstance(node, list) else node


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


PARTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "main": ("main", tensors),
    "assistant": ("assistant", tensors),
    "labels": ("labels", rows),
    "report": ("eval", figures),
}


def main(before: str, after: str) -> int:
    same = True
    for name, (folder, hashed) in PARTS.items():
        one, other = hashed(Path(before) / folder), hashed(Path(after) / folder)
        same &= one == other
        print(f"{name}: {one}" + ("" if one == other else f" before, {other} after"))
    print("the same" if same else "not the same")
    return 0 if same else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
