"""A finished run on the Hub: which files, with which cards, in one commit a repository."""

from .release import release, run_config, standalone_model
from .upload import publish

__all__ = [
    "publish",
    "release",
    "run_config",
    "standalone_model",
]
