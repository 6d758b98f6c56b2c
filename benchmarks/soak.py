"""Kills a run again and again, and shows that nothing is lost.

    OMP_NUM_THREADS=1 python benchmarks/soak.py --cycles 200

A tiny pair on synthetic speech is made once without disturbance. Then the same run is made by processes that are
killed (SIGKILL) at a random moment, or in the very moment in which a file or folder is being written or put in place;
each is followed by the same command. A run that reaches its end must have the undisturbed run's weights, labels
and figures, bit for bit, and the next one begins. Processes are forked from one that has imported everything, so that a
cycle costs its work and not its imports.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from whisper_pair.runs import hardware, versions, write_json  # noqa: E402

STAGES = {"train": "main", "distill": "assistant", "eval": "eval"}  # and the folder that each ends with
PARTS = {"labels": "shard-*.parquet", "eval": "decoded/clips-*.json"}  # what they keep as they go
RESULT = ROOT / "benchmarks" / "results" / "soak.json"
DOCS = ROOT / "docs" / "faults.md"
MOST = 8  # kills of one stage in one run; then it is left to end, so that every stage is killed often enough
FAILED = 99  # a stage whose own code failed


def write_config(folder: Path, speech: Path, output: str) -> Path:
    config = {
        "language": "nl",
        "model": str(speech / "micro-whisper"),
        "output": str(folder / output),
        "data": {
            "train": [{"folder": str(speech / "train"), "speaker": "speaker"}],
            "validation": [{"folder": str(speech / "validation")}],
            "test": [{"folder": str(speech / "test")}],
            "workers": 0,
        },
        # long enough for the main to end its sentences
        "train": {"epochs": 12, "batch_size": 4, "learning_rate": 3e-3, "evaluations": 3, "checkpoints": 15,
                  "cache_encoder": True},
        # one validation: of several, which is best depends on a cost that is measured, and clocks differ
        "distill": {"layers": 1, "epochs": 4, "batch_size": 4, "evaluations": 1, "checkpoints": 10,
                    "label_batch_size": 4, "cache": "states"},
        "eval": {"draft_tokens": [1, 2], "batch_sizes": [1], "timed_clips": 1, "repeats": 1},
    }  # fmt: skip
    path = folder / f"{output}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def start(stage: str, config: Path, log: Path) -> int:
    """Forks a process that runs a stage as its command line does; its number."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # by whichever of the two is first, so that it can always be killed
            os.setpgid(pid, pid)
        return pid
    status = FAILED
    try:
        os.setpgid(0, 0)
        with open(log, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        status = importlib.import_module(f"{stage}.__main__").main([str(config)])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ended(pid: int) -> int | None:
    """A process's exit status once it has ended, negative for a signal; None while it lives."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def writing(output: Path) -> str | None:
    """What is being written or put in place in this moment."""
    with contextlib.suppress(OSError):  # it is gone again
        for folder in (output, *output.glob("*.partial")):
            for entry in os.scandir(folder):
                half = entry.name.endswith((".partial", ".removed"))
                if half and entry.name.removesuffix(".partial") not in ("main", "labels", "assistant", "eval"):
                    return re.sub(r"-?\d+", "", entry.name.partition(".")[0])
    return None


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def outcome(output: Path) -> dict[str, str]:
    """What a complete run must always give; figures that depend on the clock are left out."""
    report = json.loads((output / "eval" / "report.json").read_text())
    figures = {name: report[name] for name in ("quality", "identity", "data")}
    figures["quality"]["long_form"] = {  # which holds seconds, too
        name: report["quality"]["long_form"].get(name) for name in ("skipped", "main", "pair", "identical")
    }
    for row in report["acceptance"]["by_draft_tokens"]:
        counted = {name: row[name] for name in ("draft_tokens", "accepted", "drafted", "rounds")}
        figures[f"drafts {row['draft_tokens']}"] = counted
    files = ("main/model.safetensors", "labels/labels.parquet", "assistant/model.safetensors")
    found = {name: digest(output / name) for name in files}
    return found | {"eval figures": hashlib.sha256(json.dumps(figures, sort_keys=True).encode()).hexdigest()}


def whole_parts(output: Path) -> dict[str, str]:
    """What must outlive a kill: finished folders, and by their steps the resumable states."""
    found = {}
    for folder, weights in (("main", "model.safetensors"), ("assistant", "model.safetensors"),
                            ("labels", "labels.parquet"), ("eval", "report.json")):  # fmt: skip
        if (output / folder / weights).is_file():
            found[folder] = digest(output / folder / weights)
    for stage in ("main", "assistant"):
        states = sorted((output / f"{stage}.partial").glob("state-" + "[0-9]" * 7))
        if states:
            found[f"{stage} state"] = states[-1].name
    for stage, pattern in PARTS.items():
        found[f"{stage} parts"] = f"{len(list((output / f'{stage}.partial').glob(pattern))):03d}"
    return found


def lost_since(before: dict[str, str], now: dict[str, str], log: str) -> list[str]:
    """Parts of `before` that a cycle has lost."""
    lost = []
    for name, value in before.items():
        if name.endswith(" parts"):
            gone = name.removesuffix(" parts") not in now and now[name] < value
        elif name.endswith(" state"):
            resumed = re.search(r"resuming at step (\d+)", log)
            gone = resumed is not None and int(resumed[1]) < int(value.partition("-")[2])
            gone = gone or (name not in now and name.removesuffix(" state") not in now)
        else:
            gone = now.get(name) != value
        if gone:
            lost.append(name)
    if "is passed over" in log or "is damaged" in log:
        lost.append("a state that was damaged")
    return lost


class Soak:
    def __init__(self, folder: Path, seed: int):
        self.folder, self.chance = folder, random.Random(seed)
        self.log = folder / "stage.log"
        self.kills: Counter[tuple[str, str]] = Counter()
        self.kills_of_run: Counter[str] = Counter()  # kills by stage in the current run
        self.lost: list[str] = []
        self.outcomes: list[bool] = []  # whether each ended like the undisturbed one
        self.seconds: dict[str, float] = {}  # of each stage, undisturbed

    def undisturbed(self, config: Path) -> None:
        for stage in STAGES:
            begun = time.monotonic()
            self.finish(stage, config)
            self.seconds[stage] = time.monotonic() - begun

    def finish(self, stage: str, config: Path) -> None:
        pid = start(stage, config, self.log)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            raise SystemExit(f"{stage} ended with {status}:\n{self.log.read_text()[-3000:]}")

    def cycle(self, config: Path, output: Path) -> None:
        """One process, killed; or at its end, where that comes first."""
        stage = next((s for s, folder in STAGES.items() if not (output / folder).is_dir()), "eval")
        if self.kills_of_run[stage] == MOST:
            return self.finish(stage, config)
        before = whole_parts(output)
        pid, begun = start(stage, config, self.log), time.monotonic()
        in_a_write = self.chance.random() < 0.5
        patience = self.chance.uniform(0, 1.2 * self.seconds[stage])
        while (status := ended(pid)) is None:
            late = time.monotonic() - begun > patience
            half = writing(output) if in_a_write and late else None
            if half or (late and not in_a_write):
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                self.kills[stage, f"writing {half}" if half else "any moment"] += 1
                self.kills_of_run[stage] += 1
                break
            time.sleep(0.0005)
        else:
            if status:
                raise SystemExit(f"{stage} ended with {status}:\n{self.log.read_text()[-3000:]}")
        self.lost += lost_since(before, whole_parts(output), self.log.read_text(errors="replace"))


def soak(cycles: int, seed: int, folder: Path) -> Soak:
    from tqdm import tqdm

    from whisper_pair.synthetic import Settings, synthesize
    from whisper_pair.synthetic.micro import MicroWhisper, build

    if not os.fork():  # in a process of its own, so that this one stays without threads and random state
        synthesize(folder / "speech", Settings(clips=20, validation=4, test=5))
        shutil.rmtree(folder / "speech" / "micro-whisper")  # a smaller one will do
        smaller = MicroWhisper(width=64, heads=2, encoder_layers=1, decoder_layers=2)
        build(folder / "speech" / "micro-whisper", smaller, seed=0)
        os._exit(0)
    os.wait()
    for stage, module in (("train", "finetune"), ("distill", "distil"), ("eval", "evaluate")):
        importlib.import_module(f"{stage}.{module}")
    made = Soak(folder, seed)
    made.undisturbed(write_config(folder, folder / "speech", "alone"))
    wanted = outcome(folder / "alone")
    config, output = write_config(folder, folder / "speech", "killed"), folder / "killed"

    def judge() -> None:
        made.outcomes.append(outcome(output) == wanted)
        made.kills_of_run.clear()
        shutil.rmtree(output)

    tqdm.set_lock(threading.RLock())  # its own is shared by forks: one killed while it holds it stops them all
    bar = tqdm(total=cycles, unit="kill")
    while made.kills.total() < cycles:
        made.cycle(config, output)
        bar.update(made.kills.total() - bar.n)
        if (output / "eval").is_dir():
            judge()
    bar.close()
    for stage in STAGES:
        made.finish(stage, config)
    judge()
    return made


def tell(result: dict) -> None:
    """The figures in docs/faults.md, between their marks."""
    stages = Counter()
    for row in result["rows"]:
        stages[row["stage"], row["moment"] == "any moment"] += row["kills"]
    lines = ["| stage | killed at any moment | killed while writing |", "| --- | ---: | ---: |"]
    lines += [f"| {stage} | {stages[stage, True]} | {stages[stage, False]} |" for stage in STAGES]
    kills, lost, outcomes = (target for target in result["targets"].values())
    summary = (
        f"`{result['command']}`, {result['date'][:10]}: {kills['reached']} kills (target {kills['target']}), "
        f"{lost['reached']} parts lost, {outcomes['reached']} of {outcomes['target']} runs ended like the undisturbed "
        "one."
    )
    text = DOCS.read_text(encoding="utf-8")
    filled = "\n".join([*lines, "", summary, ""])
    again = re.sub(
        r"(<!-- table soak -->\n).*?(<!-- end -->)", lambda marks: marks[1] + filled + marks[2], text, flags=re.DOTALL
    )
    DOCS.write_text(again, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200, help="kills, default %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        made = soak(args.cycles, args.seed, Path(folder))
    rows = [{"stage": s, "moment": m, "kills": n} for (s, m), n in sorted(made.kills.items())]
    result = {
        "command": f"OMP_NUM_THREADS=1 python benchmarks/soak.py --cycles {args.cycles} --seed {args.seed}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": hardware("cpu"),
        "versions": versions(),
        "seconds": round(time.monotonic() - begun, 1),
        "rows": rows,
        "lost": made.lost,
        "targets": {
            "kill and resume cycles": {"target": 200, "reached": made.kills.total(), "higher_is_better": True},
            "parts lost": {"target": 0, "reached": len(made.lost), "higher_is_better": False},
            "runs that end like the undisturbed one": {
                "target": len(made.outcomes), "reached": sum(made.outcomes), "higher_is_better": True,
            },
        },
    }  # fmt: skip
    write_json(args.out, result)
    if args.out == RESULT:
        tell(result)
    print(json.dumps(result["targets"], indent=1))
    return 0 if not made.lost and all(made.outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
