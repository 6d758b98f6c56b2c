"""Texts from elsewhere (names, transcripts, checkpoints) in each medium that is shown to someone.

Whoever named a clip or wrote a transcript must not be able to write markup, move a terminal's cursor or forge a line.
One function for each medium; each keeps every letter of every script as it is.
"""

import html as _html
import re
import unicodedata
from collections.abc import Iterable

# turn the text around them, so that it reads as another one (Unicode TR 36, section 3.1)
BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNSEEN = frozenset(("Cc", "Cs", "Zl", "Zp"))  # control characters, lone surrogates, line and paragraph separators
# within a word an underscore is one; of addresses, what would make them links
MARKDOWN = re.compile(r"[\\`*\[\]|~!$#@]|(?<![^\W_])_|_(?![^\W_])|(?<=:)//|(?<=\bwww)\.")
ARROW = re.compile(r"-{2,}>")
LINE_START = re.compile(r"^(?:([-+](?=[-+\s]|$)|[=>])|(\d+)(?=[.)](?:\s|$)))")


def terminal(text: str, lines: bool = False) -> str:
    r"""One line for a terminal or a log: control characters by their Python escapes, such as \x1b and \n.

    `lines`: line breaks and tabs stay, for a text that may have several lines.
    """
    kept = "\n\t" if lines else ""
    return "".join(c if c in kept or _seen(c) else c.encode("unicode_escape").decode() for c in text)


def _seen(character: str) -> bool:
    return unicodedata.category(character) not in UNSEEN and character not in BIDIRECTIONAL


def html(text: str) -> str:
    """Text of an element, or the value of a quoted attribute."""
    return _html.escape(terminal(text, lines=True), quote=True)


def markdown(text: str) -> str:
    """One line of plain text: in a paragraph, a heading or a table's cell. No markup, link, image, formula or HTML."""
    line = terminal(" ".join(text.split()))
    line = MARKDOWN.sub(lambda found: "\\" + found[0], line)
    line = LINE_START.sub(lambda found: f"{found[2]}\\" if found[2] else f"\\{found[1]}", line)  # "1. " -> "1\\. "
    return line.replace("&", "&amp;").replace("<", "&lt;")


def plot_label(text: str) -> str:
    """For matplotlib, to which dollar signs mean a formula."""
    return terminal(text).replace("$", r"\$")


def cue(lines: Iterable[str]) -> str:
    """The lines of a subtitle's cue, which a blank line would end."""
    found = (terminal(" ".join(line.split())) for line in lines)
    return "\n".join(line for line in found if line)


def srt(cue: str) -> str:
    """SubRip knows no escape: the arrow that it sets between two times becomes another one."""
    return ARROW.sub("->", cue)


def vtt(cue: str) -> str:
    """WebVTT has tags and entities."""
    return cue.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
