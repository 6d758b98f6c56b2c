"""The report's parts, in words and tables, for Markdown and the page alike."""

from whisper_pair.report import Report

from .acceptance import acceptance, agreement_by_group, rejected_tokens
from .checks import identity, leaks
from .cost import cost, memory
from .heading import about, title
from .quality import long_form, quality
from .section import Section, Table
from .speed import published, speed
from .verdict import verdict

__all__ = ["Section", "Table", "about", "sections", "title"]


def sections(report: Report) -> list[Section]:
    """All parts, in the order in which they are read."""
    found = [
        verdict(report["verdict"]),
        quality(report["quality"]),
        long_form(report["quality"]),
        acceptance(report),
        agreement_by_group(report["acceptance"]),
        rejected_tokens(report["acceptance"]),
        speed(report["speed"], report["environment"]),
        cost(report["prediction"]),
        identity(report),
        memory(report["memory"]),
        leaks(report["data"]),
        published(report),
    ]
    return [section for section in found if section is not None]
