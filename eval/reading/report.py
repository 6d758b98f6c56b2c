"""report.json -> report.md: every figure in it is read from the report."""

import re

from whisper_pair import escaping

from .document import Document


def markdown(document: Document) -> str:
    """The whole report as Markdown."""
    lines = [f"- **{escaping.markdown(name)}**: {escaping.markdown(figures)}" for name, figures in document.lines]
    contents = [f"- [{escaping.markdown(section.title)}](#{anchor(section.title)})" for section in document.sections]
    parts = [f"# {escaping.markdown(document.title)}", paragraphs(document.headline), "\n".join(lines)]
    parts += ["\n".join(contents), paragraphs(document.about)]
    for section in document.sections:
        parts.append(f"## {escaping.markdown(section.title)}")
        parts += [paragraphs(section.text)] if section.text else []
        parts += [table(given.header, given.rows) for given in section.tables]
        parts += [f"![{name}](plots/{name}.png)" for name in section.figures]
    return "\n\n".join(parts) + "\n"


def anchor(title: str) -> str:
    """Where a link to a heading leads, as GitHub names it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; what is in its cells is plain text."""
    header, *rows = [[escaping.markdown(cell) for cell in line] for line in (header, *rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))


def paragraphs(text: str) -> str:
    """Plain text as Markdown, its paragraphs kept."""
    return "\n\n".join(map(escaping.markdown, text.split("\n\n")))
