"""report.json -> report.md: every figure in it is read from the report."""

from whisper_pair import escaping
from whisper_pair.report import Report

from .sections import about, sections, title


def markdown(report: Report) -> str:
    """The whole report as Markdown."""
    parts = [f"# {escaping.markdown(title(report))}", paragraphs(about(report))]
    for section in sections(report):
        parts.append(f"## {escaping.markdown(section.title)}")
        parts += [paragraphs(section.text)] if section.text else []
        parts += [table(given.header, given.rows) for given in section.tables]
    return "\n\n".join(parts) + "\n"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; what stands in its cells is plain text."""
    header, *rows = [[escaping.markdown(cell) for cell in line] for line in (header, *rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))


def paragraphs(text: str) -> str:
    """Plain text as Markdown, its paragraphs kept."""
    return "\n\n".join(map(escaping.markdown, text.split("\n\n")))
