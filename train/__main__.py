"""accelerate launch -m train CONFIG [key.sub=value ...]"""

import sys

from whisper_pair.commands.command_line import stage_command
from whisper_pair.config import Config


def run(config: Config, overwrite: bool, dry_run: bool) -> None:
    """Runs the stage on a checked config."""
    from .finetune import finetune

    finetune(config, overwrite, dry_run)


def main(argv: list[str] | None = None) -> int:
    """Runs the stage from a command line, and returns the exit status."""
    return stage_command("train", "Fine-tunes a Whisper main model on the speech that CONFIG names.", run, argv)


if __name__ == "__main__":
    sys.exit(main())
