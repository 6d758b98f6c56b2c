"""What every command shares: a mistake in input is one sentence and exit status 2, never a traceback."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from ..config import Config, load_config
from ..errors import InputError, StoppedError, TrainingError
from ..runs import disk_failure, lock_run, rehearsal, stop_on_signals, warn_of_one_process_alone
from ..runs import refuse_missing as refuse_missing_tracker
from .console import show_messages


def imported_when_run(module: str, name: str, package: str | None) -> Callable[[Config, bool, bool], None]:
    """A stage's function from a module that loads torch: a mistake in the config is reported before it is imported."""

    def run(config: Config, overwrite: bool, dry_run: bool) -> None:
        getattr(import_module(module, package), name)(config, overwrite, dry_run)

    return run


def stage_command(
    name: str, summary: str, run: Callable[[Config, bool, bool], int | None], argv: Sequence[str] | None = None
) -> int:
    """Runs one stage from the command line: CONFIG [key.sub=value ...] [--overwrite] [--dry-run]; returns the exit
    status."""
    parser = argparse.ArgumentParser(prog=name, description=summary)
    parser.add_argument("config", help="a pair's YAML file, see configs/")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="settings that replace the file's")
    parser.add_argument("--overwrite", action="store_true", help="replace results that other settings made")
    parser.add_argument("--dry-run", action="store_true", help="only say what it will take")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake in input")
    args = parsed(parser, argv)

    def stage() -> int | None:
        show_messages("stdout")  # a stage's only output
        config = load_config(args.config, args.overrides)
        warn_of_one_process_alone()
        refuse_missing_tracker(config)
        if args.dry_run:
            with rehearsal(config, name) as rehearsed:
                return run(rehearsed, False, True)
        with lock_run(Path(config.output)), stop_on_signals(lambda: "what was finished is kept"):
            return run(config, args.overwrite, False)

    return guarded(stage, args.debug)


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Options and key.sub=value in any order: argparse takes no further positional argument after an option."""
    args, rest = parser.parse_known_args(argv)
    settings = [argument for argument in rest if "=" in argument and not argument.startswith("-")]
    if len(settings) < len(rest) or (rest and not hasattr(args, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if settings:
        args.overrides = [*args.overrides, *settings]
    return args


def guarded(action: Callable[[], int | None], debug: bool = False) -> int:
    """The action's exit status. What a user can fix is one sentence, printed by the first process: 2 for a mistake in
    the input, 1 for work that cannot go on, 128 + the signal's number for a run that was asked to stop."""
    show_messages()
    try:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # of a locale that lacks letters
        status = action() or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk or a reader that has gone may refuse only now
        return status
    except (Exception, KeyboardInterrupt, StoppedError) as error:
        status, sentence = _sentence_of(error)
        _let_go_of_closed_output()
        if debug or sentence is None:
            raise
        if os.environ.get("RANK", "0") == "0":
            with contextlib.suppress(OSError):
                print(sentence, file=sys.stderr, flush=True)
        return status


def _let_go_of_closed_output() -> None:
    """Drops output that can no longer be written: Python would try again at exit, and change the exit status."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _sentence_of(error: BaseException) -> tuple[int, str | None]:
    """(exit status, sentence); no sentence for what is our bug."""
    torch = sys.modules.get("torch")
    match error:
        case InputError():
            return 2, f"error: {error}"
        case TrainingError():
            return 1, f"error: {error}"
        case StoppedError():
            return error.status, str(error)
        case KeyboardInterrupt():
            return 130, "stopped by SIGINT; what was saved stays valid, and the same command goes on."
        case BrokenPipeError():
            gone = "stopped because the reader of the output has gone away; what was saved stays valid."
            return 128 + getattr(signal, "SIGPIPE", 13), gone
        case _ if (refused := disk_failure(error)) is not None:
            return 1, f"error: {refused}"
        case _ if torch is not None and isinstance(error, torch.OutOfMemoryError):
            reason = " ".join(str(error).split())[:200]
            return 1, f"error: out of memory; lower batch_size, label_batch_size or eval.batch_sizes ({reason})."
        case _:
            return 1, None
