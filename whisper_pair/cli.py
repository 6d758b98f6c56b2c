"""The console script `whisper-pair`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Protocol

from .commands import compare, demo_server, doctor, evaluate, export, init, publish, run, stage, synthesize, transcribe
from .commands.command_line import guarded, parsed


class Command(Protocol):
    """What each module of `commands` has."""

    SUMMARY: str

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Declares the command's arguments."""

    def run(self, args: argparse.Namespace) -> int | None:
        """Does the work, and returns the exit status; None is 0."""


COMMANDS: dict[str, Command] = {
    "init": init,
    "run": run,
    "train": stage.train,
    "distill": stage.distill,
    "eval": stage.evaluation,
    "evaluate": evaluate,
    "compare": compare,
    "transcribe": transcribe,
    "demo-server": demo_server,
    "publish": publish,
    "export": export,
    "doctor": doctor,
    "synthesize": synthesize,
}


class Version(argparse.Action):
    """Looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Prints the version and exits."""
        try:
            print(f"whisper-pair {metadata.version('whisper-pair')}")
        except metadata.PackageNotFoundError:
            print("whisper-pair, a checkout that is not installed")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line, one subparser a command."""
    whole = argparse.ArgumentParser(prog="whisper-pair", description="Matched Whisper main/assistant pairs.")
    whole.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        its_parser = commands.add_parser(name, help=command.SUMMARY, description=command.__doc__)
        its_parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake in input")
        command.add(its_parser)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0, 1 (failed), 2 (mistake in the input), 128 + signal (stopped)."""
    args = parsed(parser(), argv)
    return guarded(lambda: COMMANDS[args.command].run(args), args.debug)


if __name__ == "__main__":
    sys.exit(main())
