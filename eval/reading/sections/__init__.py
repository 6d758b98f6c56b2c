"""The report's parts, in words and tables, for Markdown and the page alike."""

from whisper_pair.report import MainReport, Report

from .acceptance import acceptance, agreement_by_group, rejected_tokens
from .checks import identity, leaks
from .cost import cost, memory
from .heading import about, about_main, title
from .quality import accuracy, long_form, main_accuracy, rate_name
from .section import Section, Table
from .short_windows import short_windows
from .speed import published, speed
from .verdict import verdict

__all__ = ["Section", "Table", "about", "about_main", "main_sections", "rate_name", "sections", "title"]


def sections(report: Report) -> list[Section]:
    """All parts, in the order in which they are read."""
    found = [
        verdict(report["verdict"]),
        accuracy(report),
        speed(report["speed"], report["environment"]),
        short_windows(report),
        acceptance(report),
        agreement_by_group(report["acceptance"]),
        rejected_tokens(report["acceptance"]),
        cost(report["prediction"]),
        long_form(report["quality"]),
        identity(report),
        memory(report["memory"]),
        leaks(report["data"]),
        published(report),
    ]
    return [section for section in found if section is not None]


def main_sections(report: MainReport) -> list[Section]:
    """The parts of a main's report."""
    return [main_accuracy(report), speed(report["speed"], report["environment"]), leaks(report["data"])]
