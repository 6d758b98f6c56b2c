"""What every command shares: a mistake in input is one sentence and exit status 2, never a traceback."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from .config import Config, load_config
from .errors import InputError, TrainingError


def stage_command(
    name: str, summary: str, run: Callable[[Config, bool], int | None], argv: Sequence[str] | None = None
) -> int:
    """Runs one stage from the command line: CONFIG [key.sub=value ...] [--overwrite]; returns the exit status."""
    parser = argparse.ArgumentParser(prog=name, description=summary)
    parser.add_argument("config", help="a pair's YAML file, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="settings that replace the file's")
    parser.add_argument("--overwrite", action="store_true", help="replace results that other settings made")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake in input")
    args = parser.parse_args(argv)
    return guarded(lambda: run(load_config(args.config, args.overrides), args.overwrite), args.debug)


def guarded(action: Callable[[], int | None], debug: bool = False) -> int:
    """The action's exit status; 2 for a mistake in the input, which is said in one sentence by the first process."""
    try:
        return action() or 0
    except (InputError, TrainingError) as error:
        if debug:
            raise
        if os.environ.get("RANK", "0") == "0":
            print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
