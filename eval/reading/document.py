"""A report in the order in which it is read: a sentence, a few lines, sections, plots, utterances."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whisper_pair.report import (
    MainReport,
    MainUtterance,
    Report,
    Timeline,
    Utterance,
    headline,
    main_headline,
    main_lines,
    verdict_lines,
)

from .plots import figures, main_figures
from .sections import Section, about, about_main, main_sections, sections, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Document:
    """What is read of a report, top to bottom."""

    title: str
    headline: str
    lines: list[tuple[str, str]]  # (what, figures)
    about: str
    sections: list[Section]
    figures: "Callable[[], dict[str, Figure]]"  # the plots, by name
    metric: str
    utterances: Sequence[Utterance] | Sequence[MainUtterance]
    timeline: Timeline | None = None  # of a pair


def pair_document(report: Report) -> Document:
    """Of a pair's report."""
    return Document(
        title(report),
        headline(report),
        verdict_lines(report),
        about(report),
        sections(report),
        lambda: figures(report),
        report["quality"]["metric"].upper(),
        report["utterances"],
        report["timeline"],
    )


def main_document(report: MainReport) -> Document:
    """Of the report of a main alone."""
    return Document(
        report["main"]["name"],
        main_headline(report),
        main_lines(report),
        about_main(report),
        main_sections(report),
        lambda: main_figures(report),
        report["quality"]["metric"].upper(),
        report["utterances"],
    )
