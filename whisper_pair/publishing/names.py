"""Where each part of a release goes, and what its cards say of all of them."""

from dataclasses import dataclass

from ..config import Config
from ..report import Report
from .short_windows import LearnedWindows


@dataclass(frozen=True)
class Names:
    """Repositories on the Hub, each org/name."""

    main: str
    assistant: str
    subfolder: str | None  # of the assistant in its repository
    standalone: str | None
    multilingual: bool = True  # False: transformers takes neither language nor task

    @property
    def pair(self) -> str:
        """The one name by which `--pair` finds both."""
        beside = self.subfolder or self.assistant == f"{self.main}-assistant"
        return self.main if beside else self.assistant


@dataclass(frozen=True)
class Release:
    """What the cards are written from."""

    config: Config
    report: Report
    names: Names
    hours: float | None  # of speech that the main labelled for the assistant; None: not known
    licence: str | None  # an SPDX name, as the Hub writes it; None: not stated
    example: bool  # whether a test clip's text may be shown
    short_windows: LearnedWindows | None = None  # that the main was trained on
