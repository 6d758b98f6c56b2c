"""Training's progress on disk: resumable states and the best checkpoint so far.

    state-0000120/     weights, optimizer and random states, by accelerate; progress.json with every file's SHA-256
    best-0000100/      a loadable checkpoint, from the best validation so far

Folders are written under another name and renamed, so each is complete or absent. A state that does not match its own
digests (after a full disk or a power failure) is skipped, and the one before it is used. The newest `keep` states
are kept, and every best checkpoint that one of them needs.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs import discard, file_digest, readable_to_others, write_json

logger = logging.getLogger(__name__)

FILE = "progress.json"
RECORDED = ("step", "best", "best_step", "history", "per_step")  # the fields of Progress that are stored


@dataclass
class Progress:
    """How far a training is, and where it is stored. All processes hold the same."""

    folder: Path  # of states and checkpoints
    per_step: int  # windows in a step: what turns a number of steps into a place in the data
    keep: int = 2  # states that stay on disk
    step: int = 0  # steps done
    best: float | None = None  # the highest score of a validation so far
    best_step: int | None = None  # the step that it belongs to
    history: list[dict[str, float]] = field(default_factory=list)  # one entry a validation
    saved_at: float = field(default_factory=time.monotonic)  # seconds, of the monotonic clock

    @property
    def best_folder(self) -> Path:
        """Of the best checkpoint."""
        return self.folder / f"best-{self.best_step:07d}"

    @property
    def record(self) -> dict[str, Any]:
        """The fields that are stored, as JSON."""
        return {name: getattr(self, name) for name in RECORDED}

    @property
    def validations_since_best(self) -> int:
        """How many validations in a row were no better than the best one."""
        return sum(entry["step"] > (self.best_step or 0) for entry in self.history)

    @property
    def owes_validation(self) -> bool:
        """Its checkpoint could not be saved: the last entry holds the loss alone."""
        return bool(self.history) and self.history[-1].keys() == {"step", "loss"}

    def save(self, accelerator) -> Path:
        """A resumable state of this step."""
        target = self.folder / f"state-{self.step:07d}"

        def write(aside: Path) -> None:
            accelerator.save_state(str(aside))

        def seal(aside: Path) -> None:
            digests = {file.relative_to(aside).as_posix(): file_digest(file) for file in _files(aside)}
            write_json(aside / FILE, self.record | {"files": digests})

        if not target.exists():
            write_whole(accelerator, target, write, seal)
            self._rotate(accelerator)
        self.saved_at = time.monotonic()
        return target

    def save_best(self, accelerator, value: float, write: Callable[[Path], None]) -> None:
        """The checkpoint of this step, which is the best so far; `write` runs on the main process."""
        self.best, self.best_step = value, self.step

        def write_once(aside: Path) -> None:
            if accelerator.is_main_process:
                write(aside)

        write_whole(accelerator, self.best_folder, write_once)
        self._rotate(accelerator)

    def resume(self, accelerator) -> None:
        """Goes on from the newest sound state, if there is one.

        Raises InputError where it was made with another number of windows a step, so would meet other data.
        """
        from accelerate.utils import broadcast_object_list

        found: list[dict[str, Any] | None] = [None]
        if accelerator.is_main_process:
            found = [self._newest()]
        broadcast_object_list(found)
        state = found[0]
        if state is None:
            return
        if state["per_step"] != self.per_step:
            raise InputError(
                f"{self.folder}: was trained to step {state['step']} with {state['per_step']} windows a step, not "
                f"{self.per_step}; go on with batch_size x accumulation x processes = {state['per_step']}, or begin "
                "again in another output."
            )
        accelerator.load_state(str(self.folder / f"state-{state['step']:07d}"))
        for name in RECORDED:
            setattr(self, name, state[name])
        logger.info("resuming at step %d", self.step)

    def _newest(self) -> dict[str, Any] | None:
        """The record of the newest sound state; removes what was begun or done after it."""
        found = None
        for folder in sorted(self.folder.glob("state-" + "[0-9]" * 7), reverse=True):
            state, damage = _checked(folder)
            if state is not None and state["best_step"] is not None:
                best = self.folder / f"best-{state['best_step']:07d}"
                damage = damage or ("" if best.is_dir() else f"its best checkpoint {best.name} is gone")
            if not damage:
                found = state
                break
            logger.warning("%s: is passed over, since %s", folder, damage)
        after = -1 if found is None else found["step"]
        for folder in [*self.folder.glob("state-*"), *self.folder.glob("best-*")]:
            number = folder.name.partition("-")[2]
            if not number.isdecimal() or int(number) > after:
                discard(folder)
        return found

    def _rotate(self, accelerator) -> None:
        if not accelerator.is_main_process:
            return
        states = sorted(self.folder.glob("state-" + "[0-9]" * 7))
        for old in states[: -self.keep]:
            discard(old)
        needed = {self.best_step}
        for state in states[-self.keep :]:
            needed.add(json.loads((state / FILE).read_text(encoding="utf-8"))["best_step"])
        for best in self.folder.glob("best-" + "[0-9]" * 7):
            if int(best.name.partition("-")[2]) not in needed:
                discard(best)


def write_whole(
    accelerator, target: Path, write: Callable[[Path], Any], seal: Callable[[Path], None] | None = None
) -> None:
    """Writes a folder aside and renames it into place. All processes `write`; then the main one seals it alone."""
    aside = target.with_name(target.name + ".partial")
    if accelerator.is_main_process:
        for old in (aside, target):
            if os.path.lexists(old):
                discard(old)
        aside.mkdir(parents=True)
    accelerator.wait_for_everyone()
    write(aside)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        readable_to_others(aside)
        if seal is not None:
            seal(aside)
        for file in _files(aside):
            _to_disk(file)
        aside.rename(target)
        _to_disk(target.parent)
    accelerator.wait_for_everyone()


def _checked(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """A state's record (None where it cannot be read), and what is wrong with it: "" for nothing."""
    try:
        state = json.loads((folder / FILE).read_text(encoding="utf-8"))
        digests = {name: state[name] for name in (*RECORDED, "files")}["files"].items()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None, f"its {FILE} cannot be read"
    for name, digest in digests:
        try:
            damaged = file_digest(folder / name) != digest
        except OSError:
            return state, f"{name} is missing"
        if damaged:
            return state, f"{name} is damaged"
    return state, ""


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _to_disk(path: Path) -> None:
    """Past the system's buffers, so that a rename never outlives the loss of what it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
