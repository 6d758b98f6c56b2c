"""report.json -> report.html: one file with its plots, audio and script inside, read without a network.

Figures come from the report; from the clips comes only the audio of some of them.
"""

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from whisper_pair.audio import SAMPLE_RATE, to_pcm
from whisper_pair.data import Clip
from whisper_pair.escaping import html as escape
from whisper_pair.report import MainUtterance, Timeline, Utterance

from .document import Document
from .plots import svg
from .report import anchor
from .sections import Section, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAYABLE = 10_000_000  # bytes of audio that the page holds, of the clips with the most errors and rejected tokens
TIMELINE, UTTERANCES = "One utterance, round by round", "Utterances"


def page(document: Document, clips: Sequence[Clip]) -> str:
    """`clips`: those of document.utterances, in that order."""
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    headings = [section.title for section in document.sections]
    timeline = ""
    if document.timeline is not None:
        shown = next(clip for clip in clips if clip.name == document.timeline["clip"])
        timeline = _heading(TIMELINE) + _timeline(document.timeline, player(flac(shown)))
        headings.append(TIMELINE)
    plots = document.figures()
    return template.substitute(
        title=escape(document.title),
        headline=escape(document.headline),
        lines="".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in document.lines),
        contents="".join(map(_link, [*headings, UTTERANCES])),
        about=_paragraphs(document.about),
        sections="\n".join(_section(section, plots) for section in document.sections),
        timeline=timeline,
        utterances_heading=_heading(UTTERANCES),
        metric=escape(document.metric),
        utterances=_utterances(document.utterances, _audio(document.utterances, clips)),
    )


def flac(clip: Clip) -> bytes:
    """The clip as a FLAC file."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm(clip.read()), SAMPLE_RATE, format="FLAC")
    return buffer.getvalue()


def player(sound: bytes) -> str:
    """An audio element that holds the sound."""
    data = base64.b64encode(sound).decode()
    return f'<audio controls preload="none" src="data:audio/flac;base64,{data}"></audio>'


def _audio(utterances: Sequence[Utterance] | Sequence[MainUtterance], clips: Sequence[Clip]) -> dict[int, str]:
    """Players by clip: the worst clips first, as many as fit."""

    players, size = {}, 0
    for index in sorted(range(len(clips)), key=lambda index: _trouble(utterances[index]), reverse=True):
        sound = flac(clips[index])
        size += len(sound)
        if size > PLAYABLE:
            break
        players[index] = player(sound)
    return players


def _trouble(row: Utterance | MainUtterance) -> int:
    """Errors and rejected tokens together."""
    found = row["main"]["errors"]
    if "assistant" in row:
        found += row["assistant"]["errors"] + row["drafted"] - row["accepted"]
    return found


def _link(heading: str) -> str:
    return f'<li><a href="#{anchor(heading)}">{escape(heading)}</a></li>'


def _heading(heading: str) -> str:
    return f'<h2 id="{anchor(heading)}">{escape(heading)}</h2>'


def _paragraphs(text: str) -> str:
    """Plain text; what stands between backticks is code."""
    marked = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(text))
    return "".join(f"<p>{part}</p>" for part in marked.split("\n\n") if part)


def _section(section: Section, plots: "dict[str, Figure]") -> str:
    pictures = "".join(f"<figure>{svg(plots[name])}</figure>" for name in section.figures if name in plots)
    tables = "".join(map(_table, section.tables))
    beside = f'<div class="pictures">{pictures}</div>' if pictures else ""
    return f"<section>{_heading(section.title)}{_paragraphs(section.text)}{beside}{tables}</section>"


def _table(table: Table) -> str:
    """On a phone a wide table becomes cards, so each cell names its column."""
    wide = ' class="cards"' if len(table.header) > 4 else ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    body = "".join(
        "<tr>" + "".join(_cell(name, cell) for name, cell in zip(table.header, row, strict=True)) + "</tr>"
        for row in table.rows
    )
    return f"<table{wide}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(column: str, text: str, value: object = None, inner: str | None = None, kind: str = "") -> str:
    """`value`: what the column is sorted by; `inner`: HTML in place of the text."""
    kind = kind or (text if text in ("yes", "no", "kept") else "")
    kinds = f' class="{kind}"' if kind else ""
    sorted_by = "" if value is None else f' data-value="{escape(str(value))}"'
    content = escape(text) if inner is None else inner
    return f'<td data-column="{escape(column)}"{kinds}{sorted_by}>{content}</td>'


def _utterances(rows: Sequence[Utterance] | Sequence[MainUtterance], audio: dict[int, str]) -> str:
    """The table's head and body."""
    cells = [_utterance(row, audio.get(i, "")) for i, row in enumerate(rows)]
    head = "".join(f"<th><button>{escape(column)}</button></th>" for column in cells[0])
    body = "\n".join("<tr>" + "".join(row.values()) + "</tr>" for row in cells)
    return f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"


def _utterance(row: Utterance | MainUtterance, sound: str) -> dict[str, str]:
    """A row's cells by column: texts first, since they are what a reader compares."""
    name, length, main = Path(row["clip"]).name, row["length"], row["main"]
    cells = {"reference": _cell("reference", row["reference"], kind="text")}
    cells["main"] = _cell("main", main["text"], kind="text")
    if "assistant" in row:
        cells["assistant"] = _cell("assistant", row["assistant"]["text"], kind="text")
    cells["main's errors"] = _cell("main's errors", f"{main['errors']} of {length}", main["errors"])
    if "assistant" in row:
        errors, rejected = row["assistant"]["errors"], row["drafted"] - row["accepted"]
        cells["assistant's errors"] = _cell("assistant's errors", f"{errors} of {length}", errors)
        cells["rejected tokens"] = _cell("rejected tokens", f"{rejected} of {row['drafted']}", rejected)
        cells["identical"] = _cell("identical", "yes" if row["identical"] else "no")
    cells["seconds"] = _cell("seconds", f"{row['seconds']:.1f}", row["seconds"])
    cells["clip"] = _cell("clip", name, name, f"{escape(name)} {sound}", "clip")
    return cells


def _timeline(timeline: Timeline, sound: str) -> str:
    """The waveform, and under it the rounds. Tokens are in order, not under their sound."""
    bars = "".join(
        f'<rect x="{i * 4}" y="{40 - 38 * peak:.1f}" width="3" height="{max(1.0, 76 * peak):.1f}"/>'
        for i, peak in enumerate(timeline["peaks"])
    )
    waveform = f'<svg class="waveform" viewBox="0 0 {4 * len(timeline["peaks"])} 80" width="100%">{bars}</svg>'
    rounds = "".join(
        '<span class="round">'
        + "".join(
            f'<span class="{kind}">{escape(token)}</span>'
            for kind, tokens in (("accepted", step["accepted"]), ("rejected", step["rejected"]), ("own", step["main"]))
            for token in tokens
        )
        + "</span> "
        for step in timeline["rounds"]
    )
    legend = (
        f"{escape(timeline['clip'])}, {timeline['seconds']:.1f} s, {timeline['draft_tokens']} draft tokens per "
        'round. Each group is one verification by the main: <span class="accepted">draft, accepted</span>, '
        '<span class="rejected">draft, rejected</span>, <span class="own">the main&#39;s own token</span>. Tokens '
        "are in order, not under their sound."
    )
    return f'{waveform}<p>{sound}</p><p class="timeline">{rounds}</p><p class="faint">{legend}</p>'
