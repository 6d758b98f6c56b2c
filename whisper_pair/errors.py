"""The exceptions that reach a user as one sentence."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence that names the file, key or value, what was expected, and the mend. Commands print it
    without a traceback and exit with status 2.
    """


class TrainingError(RuntimeError):
    """Training cannot go on. What it has saved stays good.

    The message is one sentence that names the step and what to change. Commands print it and exit with status 1.
    """


class StoppedError(Exception):
    """The run was asked to stop, and has saved what it did. `status` is the command's exit status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status
