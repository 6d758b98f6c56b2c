"""The console script `whisper-pair`."""

import argparse
import sys
from collections.abc import Sequence

from .command import guarded
from .commands import compare, demo_server, doctor, evaluate, init, publish, run, synthesize, transcribe

COMMANDS = {
    "init": init,
    "run": run,
    "evaluate": evaluate,
    "compare": compare,
    "transcribe": transcribe,
    "demo-server": demo_server,
    "publish": publish,
    "doctor": doctor,
    "synthesize": synthesize,
}


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="whisper-pair", description="Matched Whisper main/assistant pairs.")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        its_parser = commands.add_parser(name, help=command.SUMMARY, description=command.__doc__)
        its_parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake in input")
        command.add(its_parser)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return guarded(lambda: COMMANDS[args.command].run(args), args.debug)


if __name__ == "__main__":
    sys.exit(main())
