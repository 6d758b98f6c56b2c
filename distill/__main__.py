"""accelerate launch -m distill CONFIG [key.sub=value ...]"""

import sys

from whisper_pair.commands.command_line import stage_command
from whisper_pair.config import Config


def run(config: Config, overwrite: bool, dry_run: bool) -> None:
    """Runs the stage on a checked config."""
    from .distil import distil

    distil(config, overwrite, dry_run)


def main(argv: list[str] | None = None) -> int:
    """Runs the stage from a command line, and returns the exit status."""
    return stage_command("distill", "Labels the speech with the main and distils its assistant.", run, argv)


if __name__ == "__main__":
    sys.exit(main())
