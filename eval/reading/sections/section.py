"""A part of the report: a title, a few sentences, tables, plots. Markdown and the page show the same parts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells are plain text; whoever shows them escapes them."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Section:
    """`text`: paragraphs, with a blank line between them."""

    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[str, ...] = ()  # plots that are beside it, by name
