"""`whisper-pair train CONFIG`, `distill CONFIG` and `eval CONFIG`: one stage of a run by itself.

A checkout's `accelerate launch -m train` does the same; an installed package has no module of that name.
"""

import argparse

from .run import add_config, checked, command_of, status_of


class StageCommand:
    """One stage, with what a module of this folder has."""

    def __init__(self, stage: str, summary: str):
        self.stage, self.SUMMARY = stage, summary
        self.__doc__ = f"`whisper-pair {stage} CONFIG`: {summary}."

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Declares the command's arguments."""
        add_config(parser)
        if self.stage == "eval":
            parser.add_argument("--strict", action="store_true", help="exit with status 1 unless the verdict passes")

    def run(self, args: argparse.Namespace) -> int:
        """Runs the stage in processes of its own, and returns their status."""
        checked(args)
        strict = ["--strict"] if self.stage == "eval" and args.strict else []
        return status_of(command_of(self.stage, args) + strict)


train = StageCommand("train", "fine-tune the main, the first stage of a run")
distill = StageCommand("distill", "label with the main and distil its assistant, the second stage of a run")
evaluation = StageCommand("eval", "measure the pair of a run, its third stage")
