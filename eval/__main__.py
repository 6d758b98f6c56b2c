"""python -m eval CONFIG [key.sub=value ...]"""

import sys

from whisper_pair.command import stage_command
from whisper_pair.config import Config


def run(config: Config, overwrite: bool, dry_run: bool) -> int:
    if dry_run:
        from .rehearse import rehearse

        print(rehearse(config))
        return 0
    from .evaluate import evaluate

    return evaluate(config, overwrite)


def main(argv: list[str] | None = None) -> int:
    return stage_command("eval", "Measures acceptance, quality, identity and speed of the pair.", run, argv)


if __name__ == "__main__":
    sys.exit(main())
