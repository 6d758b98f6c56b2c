"""accelerate launch -m train CONFIG [key.sub=value ...]"""

import sys

from whisper_pair.commands.command_line import stage_command
from whisper_pair.config import Config


def run(config: Config, overwrite: bool, dry_run: bool) -> None:
    from .finetune import finetune

    finetune(config, overwrite, dry_run)


def main(argv: list[str] | None = None) -> int:
    return stage_command("train", "Fine-tunes a Whisper main model on the speech that CONFIG names.", run, argv)


if __name__ == "__main__":
    sys.exit(main())
