"""report.json -> report.html: one file with its pictures, sounds and script inside, read without a network.

Figures come from the report; from the clips comes only the sound of a few of them.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from string import Template

from whisper_pair.audio import SAMPLE_RATE, to_pcm
from whisper_pair.data import Clip
from whisper_pair.escaping import html as escape
from whisper_pair.report import Report, Timeline, Utterance

from .plots import figures, svg
from .sections import Section, Table, about, sections, title

PLAYABLE = 8  # clips whose audio the page holds
LONG = 48  # characters from which a cell may wrap
WIDE = ("surface", "speed", "quality_speed")  # pictures that take a whole row
COLUMNS = ("clip", "seconds", "tokens", "agreement", "accepted", "errors", "assistant's errors", "identical", "audio")


def page(report: Report, clips: Sequence[Clip]) -> str:
    """`clips`: those of report["utterances"], in that order."""
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    every = max(1, len(clips) // PLAYABLE)
    sounds = {i: flac(clips[i]) for i in range(0, len(clips), every)[:PLAYABLE]}
    timeline = report["timeline"]
    shown = next(i for i, clip in enumerate(clips) if clip.name == timeline["clip"])
    return template.substitute(
        title=escape(title(report)),
        about="".join(f"<p>{escape(text)}</p>" for text in about(report).split("\n\n")),
        sections="\n".join(_section(section) for section in sections(report)),
        pictures="\n".join(_picture(name, figure) for name, figure in figures(report).items()),
        timeline=_timeline(timeline, flac(clips[shown])),
        metric=escape(report["quality"]["metric"].upper()),
        columns="".join(
            f"<th><button>{escape(name)}</button></th>" for name in (*COLUMNS, "reference", "main", "assistant")
        ),
        rows="\n".join(_utterance(row, sounds.get(i)) for i, row in enumerate(report["utterances"])),
    )


def flac(clip: Clip) -> str:
    """An audio element that holds the clip."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, to_pcm(clip.read()), SAMPLE_RATE, format="FLAC")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<audio controls preload="none" src="data:audio/flac;base64,{data}"></audio>'


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"] + ([f"<p>{escape(section.text)}</p>"] if section.text else [])
    return "\n".join([*parts, *map(_table, section.tables)])


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    kind = text if text in ("yes", "no", "kept") else "text" if len(text) > LONG else ""
    kind = f' class="{kind}"' if kind else ""
    return f"<td{kind}>{escape(text)}</td>"


def _picture(name: str, figure) -> str:
    return f'<figure class="{"wide" if name in WIDE else "narrow"}">{svg(figure)}</figure>'


def _timeline(timeline: Timeline, sound: str) -> str:
    """The waveform, and under it the rounds. Tokens stand in order, not under their sound."""
    bars = "".join(
        f'<rect x="{i * 4}" y="{40 - 38 * peak:.1f}" width="3" height="{max(1.0, 76 * peak):.1f}"/>'
        for i, peak in enumerate(timeline["peaks"])
    )
    waveform = f'<svg viewBox="0 0 {4 * len(timeline["peaks"])} 80" width="100%" fill="#08519c">{bars}</svg>'
    rounds = "".join(
        '<span class="round">'
        + "".join(
            f'<span class="{kind}">{escape(token)}</span>'
            for kind, tokens in (("accepted", step["accepted"]), ("rejected", step["rejected"]), ("main", step["main"]))
            for token in tokens
        )
        + "</span> "
        for step in timeline["rounds"]
    )
    legend = (
        f"{escape(timeline['clip'])}, {timeline['seconds']:.1f} s, {timeline['draft_tokens']} draft tokens per "
        "round. Each group is one check by the main: "
        '<span class="accepted">drafted and accepted</span>, <span class="rejected">drafted and rejected</span>, '
        '<span class="main">the main&#39;s own token</span>. Tokens stand in order, not under their sound.'
    )
    return f'{waveform}<p>{sound}</p><p class="timeline">{rounds}</p><p class="faint">{legend}</p>'


def _utterance(row: Utterance, sound: str | None) -> str:
    def number(value: float, text: str) -> str:
        return f'<td class="number" data-value="{value}">{text}</td>'

    agreement = row["agreed"] / row["tokens"] if row["tokens"] else 0.0
    accepted = row["accepted"] / row["drafted"] if row["drafted"] else 0.0
    texts = (row["reference"], row["main"]["text"], row["assistant"]["text"])
    cells = [
        f"<td>{escape(Path(row['clip']).name)}</td>",
        number(row["seconds"], f"{row['seconds']:.1f}"),
        number(row["tokens"], str(row["tokens"])),
        number(agreement, f"{agreement:.2f}"),
        number(accepted, f"{accepted:.2f}"),
        number(row["main"]["errors"], f"{row['main']['errors']} of {row['length']}"),
        number(row["assistant"]["errors"], str(row["assistant"]["errors"])),
        _cell("yes" if row["identical"] else "no"),
        f'<td data-value="{0 if sound else 1}">{sound or ""}</td>',
        *(f'<td class="text">{escape(text)}</td>' for text in texts),
    ]
    return "<tr>" + "".join(cells) + "</tr>"
