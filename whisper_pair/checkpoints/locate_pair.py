"""Where a pair is: a run's folder, a published repository, or two checkpoints named one by one.

A pair in one place has one of four shapes: `main/` and `assistant/` side by side (a run's folder), a main with its
`assistant/` inside (published in one repository), an assistant alone, whose pair.json names its main's repository, or
a published main NAME, whose assistant is NAME-assistant.
"""

import argparse
import os
import re
from pathlib import Path

from ..config import home, named
from ..errors import InputError
from .locate import hub_folder
from .manifest import PAIR_FILE, PairManifest

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # owner/name


def add_pair_arguments(parser: argparse.ArgumentParser) -> None:
    """--pair, or --main with or without --assistant."""
    parser.add_argument(
        "--pair", type=home, metavar="DIR", help="a run's folder or a published pair, org/name or org/name@v1"
    )
    parser.add_argument("--main", type=home, metavar="M", help="instead of --pair: the main's folder or Hub id")
    parser.add_argument(
        "--assistant", type=home, metavar="A", help="with --main: the assistant's; without it the main decodes alone"
    )


def pair_from_arguments(args: argparse.Namespace) -> tuple[str, str | None]:
    """The main's and the assistant's folders or Hub ids that a command line names."""
    if bool(args.pair) == bool(args.main):
        raise InputError("name the pair: either --pair DIR, or --main M with --assistant A.")
    if args.pair and args.assistant:
        raise InputError("--assistant goes with --main; --pair names both already.")
    return locate_pair(args.pair) if args.pair else (args.main, args.assistant)


def locate_pair(place: str, revision: str | None = None, assistant_revision: str | None = None) -> tuple[str, str]:
    """The main's and the assistant's folders or Hub ids (owner/name@revision) of a pair in one place.

    `revision` is that of the repository `place`, which may end in @revision instead; `assistant_revision` that of the
    assistant's, where it has one of its own.
    """
    local = os.path.isdir(place)  # Path's own raises on a name that no system takes
    if not local:
        place, revision = named(place, revision)
    folder = Path(place) if local else hub_folder(place, revision)
    for main in (folder / "main", folder):
        if (main / "config.json").is_file() and (folder / "assistant" / "config.json").is_file():
            _refuse_revision(place, assistant_revision)
            return str(main), str(folder / "assistant")
    manifest = PairManifest.load(folder)
    if manifest is None and (folder / "assistant").is_dir():
        manifest, folder = (
            PairManifest.load(folder / "assistant"),
            folder / "assistant",
        )  # the main is elsewhere
    if manifest is None and not local:
        assistant = _published_assistant(place, assistant_revision)
        return at(place, revision), str(assistant)
    _refuse_revision(place, assistant_revision)
    if manifest is None:
        raise InputError(f"{place}: holds no pair: expected main/ and assistant/ in it, or an assistant's {PAIR_FILE}.")
    if not HUB_ID.fullmatch(manifest.main) and not (local and os.path.isdir(manifest.main)):
        raise InputError(
            f"{place}: its {PAIR_FILE} names the main {manifest.main!r}, which is not here; name both with --main and"
            " --assistant."
        )
    return at(manifest.main, manifest.main_revision), str(folder)


def at(name: str, revision: str | None) -> str:
    """name@revision for a repository on the Hub; the name alone for a folder."""
    return f"{name}@{revision}" if revision and HUB_ID.fullmatch(name) else name


def _refuse_revision(place: str, assistant_revision: str | None) -> None:
    if assistant_revision is not None:
        raise InputError(
            f"assistant_revision {assistant_revision}: {place} holds the assistant itself; give its revision alone."
        )


def _published_assistant(main: str, revision: str | None) -> Path:
    """Of a main in a repository of its own. Raises InputError where there is none that was made for it."""
    try:
        folder = hub_folder(f"{main}-assistant", revision)
    except InputError as error:
        raise InputError(
            f"{main}: holds no assistant, and {main}-assistant was not found; name both with --main and --assistant."
        ) from error
    manifest = PairManifest.load(folder)
    if manifest is None or manifest.main != main:
        raise InputError(f"{main}-assistant: was made for {manifest.main if manifest else 'no main that it names'}.")
    return folder
