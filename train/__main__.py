"""accelerate launch -m train CONFIG [key.sub=value ...]"""

import sys

from whisper_pair.commands.command_line import imported_when_run, stage_command


def main(argv: list[str] | None = None) -> int:
    """Runs the stage from a command line, and returns the exit status."""
    run = imported_when_run(".finetune", "finetune", __package__)
    return stage_command("train", "Fine-tunes a Whisper main model on the speech that CONFIG names.", run, argv)


if __name__ == "__main__":
    sys.exit(main())
