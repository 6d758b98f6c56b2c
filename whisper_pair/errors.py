"""The exceptions that reach a user as one sentence, whatever names of files and clips stand in it."""

from .escaping import terminal


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence that names the file, key or value, what was expected, and the fix. Commands print it
    without a traceback and exit with status 2.
    """

    def __init__(self, message: str):
        super().__init__(terminal(message))


class TrainingError(RuntimeError):
    """Training cannot go on. What it has saved stays valid.

    The message is one sentence that names the step and what to change. Commands print it and exit with status 1.
    """

    def __init__(self, message: str):
        super().__init__(terminal(message))


class StoppedError(BaseException):
    """The run was asked to stop, and has saved what it did. `status` is the command's exit status.

    A signal may raise it anywhere, so it is no Exception, as KeyboardInterrupt is none: whoever handles an error and
    goes on must not handle this one.
    """

    def __init__(self, message: str, status: int):
        super().__init__(terminal(message))
        self.status = status
