"""A run's folder: which stage is finished, and with what inputs.

A stage writes into a folder beside its final one and takes its place only when whole. What it was made from is in
`inputs.json`; a stage whose inputs are unchanged is skipped, one whose inputs changed is refused until the user says
--overwrite. A setting that an older version did not know counts as its default.
"""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from ..config import Config, Data, Distill, Eval, Train, dump_config, plain
from ..errors import InputError
from .files import write_json, write_text

logger = logging.getLogger(__name__)

# What a run that was killed in its first moment may leave in a folder that is otherwise empty.
BESIDE = ".lock.held"  # the lock itself on Windows, see locks.py
BEGINNINGS = (".lock", BESIDE, "config.yaml.partial", "inputs.json.partial")

SECTIONS = {"train": Train, "data": Data, "distill": Distill, "eval": Eval}  # of a config, as inputs hold them
LABELS = "labels"  # an assistant's inputs hold all those of its labels
BEFORE = {"data": {"timestamps": 0.0}}  # what was done before a setting existed, where it is not the default of today


@dataclass(frozen=True)
class Stage:
    """One stage's results in `folder`, and its unfinished work in `folder.partial`."""

    folder: Path
    inputs: dict[str, Any]  # everything that decides the results

    @property
    def work(self) -> Path:
        """Where unfinished work lies."""
        return self.folder.with_name(self.folder.name + ".partial")

    def finished(self) -> bool:
        """Whether the results are there and were made from these inputs."""
        return self._recorded(self.folder) == self.inputs

    def refuse_other_inputs(self, overwrite: bool) -> None:
        """InputError where the run's folder is not ours, or holds results or unfinished work of other inputs."""
        refuse_foreign(self.folder.parent)
        for folder in () if overwrite else self._of_other_inputs():
            recorded = self._recorded(folder)
            why = "is not a run of ours"
            if recorded is not None:
                why = f"was made with {difference(recorded, self.inputs)}{_kept_by(recorded, self.inputs)}"
            raise InputError(f"{folder}: {why}; choose another output, or add --overwrite to replace it.")

    def begin(self, config: Config) -> None:
        """Makes room for the work, or goes on with it where it was begun with the same inputs. One process calls it."""
        self.tidy()
        for folder in self._of_other_inputs():
            recorded = self._recorded(folder)
            why = "is not a run of ours" if recorded is None else f"was made with {difference(recorded, self.inputs)}"
            logger.warning("%s: %s; starting again", folder, why)
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

    def _recorded(self, folder: Path) -> dict[str, Any] | None:
        try:
            found = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return with_later_settings(found, self.inputs) if isinstance(found, dict) else None


def with_later_settings(recorded: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was made from, with the settings of `inputs` that its version did not know yet at their defaults."""
    found = dict(recorded)
    for name, kind in SECTIONS.items():
        if isinstance(found.get(name), dict) and isinstance(inputs.get(name), dict):
            found[name] = _filled(found[name], inputs[name], _defaults(kind) | BEFORE.get(name, {}))
    if isinstance(found.get(LABELS), dict) and isinstance(inputs.get(LABELS), dict):
        found[LABELS] = with_later_settings(found[LABELS], inputs[LABELS])
    return found


def _defaults(kind: type) -> dict[str, Any]:
    """The defaults of a section's keys, as JSON types."""
    found = {}
    for field in fields(kind):
        if field.default is not MISSING:
            found[field.name] = plain(field.default)
        elif field.default_factory is not MISSING:
            found[field.name] = plain(field.default_factory())
    return found


def _filled(old: dict[str, Any], new: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """`old` with the keys of `new` that it lacks at their defaults, at any depth."""
    found = {name: defaults[name] for name in new if name in defaults and name not in old} | old
    for name, default in defaults.items():
        if all(isinstance(tree.get(name), dict) for tree in (old, new, defaults)):
            found[name] = _filled(old[name], new[name], default)
    return found


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


def difference(old: Any, new: Any) -> str:
    """The first place where two JSON trees differ, in words."""
    path, one, other = _first_difference(old, new, "")
    return f"{path} = {json.dumps(one, ensure_ascii=False)}, not {json.dumps(other, ensure_ascii=False)}"


def _kept_by(recorded: dict[str, Any], inputs: dict[str, Any]) -> str:
    """The override of the config under which the results count as made from it, where one value does that."""
    path, old, _ = _first_difference(recorded, inputs, "")
    path = path.removeprefix(f"{LABELS}.")
    section, _, key = path.partition(".")
    known: Any = _defaults(SECTIONS[section]) if section in SECTIONS else {}
    for part in key.split("."):
        known = known.get(part, MISSING) if isinstance(known, dict) else MISSING
    if known is MISSING or isinstance(old, dict | list):
        return ""
    return f"; to keep it, add {path}={old if isinstance(old, str) else json.dumps(old)}"


def _first_difference(old: Any, new: Any, path: str) -> tuple[str, Any, Any]:
    """(path, the old value, the new value)"""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(k for k in old if k not in new)]:
            if old.get(key) != new.get(key):
                return _first_difference(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            if a != b:
                return _first_difference(a, b, f"{path}.{i}")
    return path, old, new
