"""accelerate launch -m distill CONFIG [key.sub=value ...]"""

import sys

from whisper_pair.commands.command_line import imported_when_run, stage_command


def main(argv: list[str] | None = None) -> int:
    """Runs the stage from a command line, and returns the exit status."""
    run = imported_when_run(".distil", "distil", __package__)
    return stage_command("distill", "Labels the speech with the main and distils its assistant.", run, argv)


if __name__ == "__main__":
    sys.exit(main())
