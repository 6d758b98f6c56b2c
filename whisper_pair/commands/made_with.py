"""What each transcript in an output folder was made with, so that a rerun never reuses one that was made otherwise.

A JSON file in the folder maps a result's name to its settings. Results that it does not name are somebody else's, or
were made before it: they are left alone.
"""

import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..runs import as_json, difference, write_json

FILE = ".whisper-pair.json"


class MadeWith:
    """The record of one output folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.known = self._read()

    def refuse_others(self, target: Path, settings: dict[str, Any]) -> None:
        """InputError for a result that is there and was made with other settings."""
        before = self.known.get(self._name(target))
        if before is not None and before != as_json(settings):
            raise InputError(
                f"{target}: was made with {difference(before, as_json(settings))}; make it again with --overwrite, or "
                "choose another --output."
            )

    def add(self, target: Path, settings: dict[str, Any]) -> None:
        """A result that was just written."""
        self.known = self._read() | {self._name(target): as_json(settings)}  # with what others wrote meanwhile
        write_json(self.folder / FILE, self.known)

    def _name(self, target: Path) -> str:
        return target.relative_to(self.folder).as_posix()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads((self.folder / FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return {name: made for name, made in found.items() if isinstance(made, dict)} if isinstance(found, dict) else {}
