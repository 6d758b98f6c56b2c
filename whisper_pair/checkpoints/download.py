"""What is fetched of a repository on the Hub: settings, tokenizer and one set of weights.

Repositories often hold the same weights twice or more: whole and in shards, in float16 and float32 (`model.fp32-...`),
and those of other libraries. transformers loads `model.safetensors` where there is one, otherwise the shards that
`model.safetensors.index.json` names; nothing else is fetched.
"""

import fnmatch
import glob
import json
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


FOLDERS = ("", "main/", "assistant/")  # where a published pair keeps checkpoints; what else lies deeper is not one


SETTINGS, OTHER_SETS = ("*.json", "*.txt"), ("*.safetensors.index.json", "*.safetensors.index.*.json")


def fetch(name: str, revision: str | None) -> Path:
    """The folder of a repository's snapshot in the Hub's cache, which serves by itself where the Hub is out of reach.

    Raises the Hub client's own errors, which are many.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    try:
        files = [file.rfilename for file in HfApi().model_info(name, revision=revision).siblings or ()]
    except Exception:  # offline, or nothing there: the client tells the two apart
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=["config.json"]))
        files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
        found = wanted(files, lambda index: shards_of(folder / index))
    else:
        found = wanted(files, lambda index: shards_of(Path(hf_hub_download(name, index, revision=revision))))
    return Path(snapshot_download(name, revision=revision, allow_patterns=[glob.escape(file) for file in found]))


def wanted(files: list[str], shards: Callable[[str], list[str]]) -> list[str]:
    """Of a repository's files those that are fetched; `shards(index)` are the names that an index file holds."""
    found = []
    for folder in FOLDERS:
        own = [file.removeprefix(folder) for file in files if file.startswith(folder)]
        own = [file for file in own if "/" not in file]
        found += [folder + file for file in own if like(file, SETTINGS) and not like(file, OTHER_SETS)]
        if WEIGHTS in own:
            found.append(folder + WEIGHTS)
        elif INDEX in own:
            found += [folder + file for file in (INDEX, *shards(folder + INDEX))]
    return found


def like(file: str, patterns: tuple[str, ...]) -> bool:
    """Whether a file's name fits one of the shell patterns."""
    return any(fnmatch.fnmatch(file, pattern) for pattern in patterns)


def shards_of(index: Path) -> list[str]:
    """The names of the files that an index names. Raises InputError where they are not .safetensors files beside it."""
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        sound = all(shard == Path(shard).name and shard.endswith(".safetensors") for shard in shards)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise InputError(
            f"{index}: names weights that are not .safetensors files beside it; fetch the checkpoint again."
        )
    return shards


def weight_files(folder: Path) -> list[Path]:
    """The one set of weights of a checkpoint's folder that transformers loads."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return [folder / shard for shard in shards_of(folder / INDEX)]
    return sorted(folder.glob("*.safetensors"))
