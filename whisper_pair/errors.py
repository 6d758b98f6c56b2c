"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence that names the file, key or value, what was expected, and the mend. Commands print it
    without a traceback and exit with status 2.
    """
