"""pair.json: what an assistant was made for.

It is beside the assistant and names the main, the SHA-256 of the encoder's tensors and of the vocabulary, the layers
taken, the language and the task.
"""

import json
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from ..config import Config
from ..errors import InputError
from ..runs import write_json
from .capabilities import ShortWindows, read_short_windows

PAIR_FILE = "pair.json"


VERSION = 1  # of pair.json; it rises when a reader of the version before would take something wrongly


IN_CACHE = re.compile(r".*/models--([^/]+?)--([^/]+)/snapshots/([^/]+)/?")  # a main's place in the Hub's cache


@dataclass(frozen=True)
class PairManifest:
    """What pair.json holds: what the assistant was built for."""

    main: str  # the main's folder, or its Hub id: what others find it by
    encoder_sha256: str
    vocabulary_sha256: str
    layers: tuple[int, ...]  # of the main's decoder
    language: str
    task: str
    main_revision: str | None = None  # the main's commit on the Hub, where it is not ours; null: any
    version: int = VERSION
    short_windows: ShortWindows | None = None  # that main and assistant were trained on; None: full windows alone

    def save(self, folder: Path) -> None:
        """Written completely or not at all."""
        write_json(folder / PAIR_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "PairManifest | None":
        """None where the folder has no pair.json. Raises InputError for one that cannot be read.

        Keys that this version does not know are left unread: what changes the meaning of the others has a new version.
        """
        path = folder / PAIR_FILE
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            version = found.get("version", VERSION)
            if type(version) is int and version > VERSION:
                raise InputError(f"{path}: is of version {version}, and this Whisper Pair reads {VERSION}; upgrade it.")
            known = {field.name: found[field.name] for field in fields(cls) if field.name in found}
            known |= {"layers": tuple(found["layers"]), "short_windows": read_short_windows(found.get("short_windows"))}
            manifest = cls(**known)
            if not manifest._is_well_formed():
                raise ValueError(found)
            return manifest._with_hub_id()
        except InputError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: is not a pair.json of this toolkit; distil the assistant again.") from error

    def _is_well_formed(self) -> bool:
        texts = [self.main, self.encoder_sha256, self.vocabulary_sha256, self.language, self.task]
        texts += [] if self.main_revision is None else [self.main_revision]
        numbers = (self.version, *self.layers)
        return all(isinstance(text, str) for text in texts) and all(type(number) is int for number in numbers)

    def _with_hub_id(self) -> "PairManifest":
        """Early pair.json files name the folder in the Hub's cache of a main that is not ours."""
        found = IN_CACHE.fullmatch(self.main)
        return replace(self, main=f"{found[1]}/{found[2]}", main_revision=found[3]) if found else self


def origin(config: Config, folder: Path) -> tuple[str, str | None]:
    """The name by which others find a run's main, and its revision on the Hub; `folder` is where it is here."""
    if config.train is not None or Path(config.model).is_dir():
        return str(folder), None
    return config.model, folder.name if folder.parent.name == "snapshots" else config.revision
