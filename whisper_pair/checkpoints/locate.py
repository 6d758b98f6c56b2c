"""Where a checkpoint is: a folder, a run's finished main, or a repository on the Hub."""

import os
from pathlib import Path

from ..config import Config, home, named
from ..errors import InputError
from .check import refuse_adapter
from .download import fetch, shards_of


def checkpoint_folder(name: str, revision: str | None = None) -> Path:
    """A checkpoint's folder: `name` itself where it is one, otherwise the Hub's, fetched into the cache.

    On the Hub `name` is owner/name or owner/name@revision.

    Raises InputError for a checkpoint that is not there or has no safetensors weights.
    """
    folder = Path(home(name))
    if not os.path.isdir(folder):  # Path's own raises on a name that no system takes
        folder = hub_folder(name, revision)
    refuse_adapter(folder)
    if not (folder / "config.json").is_file():
        raise InputError(f"{name}: holds no config.json, so it is not a checkpoint.")
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{name}: holds no .safetensors weights; other formats can run code and are not read.")
    for index in folder.glob("*.index.json"):
        shards_of(index)
    return folder


def main_folder(config: Config) -> Path:
    """The finished main of a run: stage 1's, or the checkpoint itself where nothing is fine-tuned."""
    if config.train is None:
        return checkpoint_folder(config.model, config.revision)
    folder = Path(config.output) / "main"
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: the fine-tuned main is not there yet; first: whisper-pair train CONFIG.")
    return folder


def hub_folder(name: str, revision: str | None = None) -> Path:
    """One set of a repository's weights, and its settings, in the Hub's cache; `name` may end in @revision.

    Raises InputError where the Hub does not give them.
    """
    name, revision = named(name, revision)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise InputError(f"{name}: there is no such folder, and it is no Hub id of the form owner/name.")
    try:
        return fetch(name, revision)
    except InputError:
        raise
    except Exception as error:  # many kinds; the user needs the one sentence
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: is no local folder, and the Hub did not give it ({reason}).") from error
