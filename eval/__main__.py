"""python -m eval CONFIG [key.sub=value ...] [--strict]"""

import os
import sys

from whisper_pair.commands.command_line import stage_command
from whisper_pair.config import Config

SUMMARY = (
    "Measures acceptance, quality, identity and speed of the pair. With --strict beside the arguments below, the exit "
    "status is 1 where the verdict is not passed."
)


def main(argv: list[str] | None = None) -> int:
    """Runs the stage from a command line, and returns the exit status."""
    given = sys.argv[1:] if argv is None else argv
    strict = "--strict" in given

    def run(config: Config, overwrite: bool, dry_run: bool) -> int:
        if dry_run:
            from .rehearse import rehearse

            if os.environ.get("RANK", "0") == "0":  # a probe for all processes of a launch
                print(rehearse(config))
            return 0
        from .evaluate import evaluate

        return evaluate(config, overwrite, strict)

    return stage_command("eval", SUMMARY, run, [argument for argument in given if argument != "--strict"])


if __name__ == "__main__":
    sys.exit(main())
