"""Where a run's figures are shown: trackers are packages of their own, and services that may be out of reach."""

from collections.abc import Callable
from importlib.util import find_spec

from ..config import Config
from ..errors import InputError

PACKAGES = {"wandb": ("wandb",), "trackio": ("trackio",), "tensorboard": ("tensorboard", "tensorboardX")}


def refuse_missing(config: Config) -> None:
    """InputError for a tracker that is not installed."""
    packages = PACKAGES.get(config.tracker, ())
    if packages and not any(map(find_spec, packages)):
        raise InputError(f"tracker: {config.tracker} is not installed; pip install {packages[0]}, or set tracker=none.")


def started(name: str, start: Callable[[], None]) -> None:
    """InputError where a tracker does not start: each has its own kinds of error, for its service, its login, its
    folder."""
    try:
        start()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"tracker: {name} does not start ({reason}); fix that, or set tracker=none.") from error
