"""How a command shows what the library logs: plain lines beside tqdm's bars, from the first process only.

Library code says what it does through `logging`, under the logger `whisper_pair`, and prints nothing. A Python caller
configures that as usual: `logging.getLogger("whisper_pair").setLevel(...)`. Only the commands install what is here.
"""

import logging
import os
import sys
import warnings
from typing import Literal

from ..escaping import terminal

LOGGER = logging.getLogger("whisper_pair")
TELL_NOTHING = ("accelerate.utils.other",)  # that tied weights are saved once


class Console(logging.Handler):
    """Information goes to `stream`; warnings and errors go to stderr, from every process, since each may meet its own.

    The streams are looked up for each line: tests and notebooks replace them. A closed pipe or a full disk raises, as
    `print` would.
    """

    def __init__(self, stream: Literal["stdout", "stderr"]):
        super().__init__(logging.INFO)
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        warns = record.levelno >= logging.WARNING
        if not warns and os.environ.get("RANK", "0") != "0":
            return
        stream = sys.stderr if warns or self.stream == "stderr" else sys.stdout
        if stream is None:
            return
        line = terminal(record.getMessage())
        if warns:
            line = f"{record.levelname.lower()}: {line}"
        bars = sys.modules.get("tqdm")  # where nobody has loaded it, there is no bar
        if bars is None:
            stream.write(line + "\n")
        else:
            bars.tqdm.write(line, file=stream)
        stream.flush()


def show_messages(stream: Literal["stdout", "stderr"] = "stderr") -> None:
    """Shows what the library logs. `stream` "stderr" leaves stdout to the command's result."""
    for handler in [handler for handler in LOGGER.handlers if isinstance(handler, Console)]:
        LOGGER.removeHandler(handler)
    LOGGER.addHandler(Console(stream))
    LOGGER.setLevel(logging.INFO)
    for name in TELL_NOTHING:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)  # of libraries, for whoever calls them
