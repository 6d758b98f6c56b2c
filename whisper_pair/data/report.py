"""What a stage trains on: `data.md` in the run's folder, with histograms.

Each stage writes its section into `data/STAGE.md`; `data.md` is the sections together.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..escaping import markdown
from ..runs import whole_file, write_text
from .clips import Clip, Window
from .corpus import Corpus
from .packing import clips_per_window

TOP = 10  # texts and speakers that are listed
TITLES = {"main": "Fine-tuning the main", "assistant": "Distilling the assistant"}


def write_data_report(
    output: Path,
    stage: str,
    corpus: Corpus,
    windows: Sequence[Window],
    tokens: Sequence[int],
    window_seconds: float,
    more: str = "",
) -> None:
    """Writes the section of `stage` ("main" or "assistant") and puts the sections together.

    `tokens`: the length of each window's target; `more`: Markdown to add.
    """
    folder = output / "data"
    folder.mkdir(exist_ok=True)
    histograms: dict[str, tuple[str, str, Sequence[float]]] = {
        "clip-seconds": ("Clips", "seconds", [clip.seconds for clip in corpus.clips]),
        "window-seconds": ("Windows", "seconds of sound", [window.seconds for window in windows]),
        "window-tokens": ("Windows", "tokens of the target", list(tokens)),
    }
    for name, (title, label, values) in histograms.items():
        _histogram(folder / f"{stage}-{name}.png", title, label, values)
    section = _section(stage, corpus, windows, tokens, window_seconds) + more
    write_text(folder / f"{stage}.md", section)
    sections = [folder / f"{name}.md" for name in TITLES if (folder / f"{name}.md").is_file()]
    text = "\n".join(["# Data\n", *(path.read_text(encoding="utf-8") for path in sections)])
    write_text(output / "data.md", text)


def _section(
    stage: str, corpus: Corpus, windows: Sequence[Window], tokens: Sequence[int], window_seconds: float
) -> str:
    clips = corpus.clips
    speech = sum(window.seconds for window in windows)
    without_text = sum(clip.text is None for clip in clips)
    lines = [
        f"## {TITLES[stage]}",
        "",
        *_table(
            ["", ""],
            [
                ["clips", f"{len(clips)}" + (f", {without_text} of them without text" if without_text else "")],
                ["hours", f"{sum(clip.seconds for clip in clips) / 3600:.2f}"],
                ["seconds a clip", _spread([clip.seconds for clip in clips])],
                ["speakers or recordings", str(len({clip.speaker for clip in clips} - {None}) or "unknown")],
                ["windows", str(len(windows))],
                ["clips for one window (the encoder's work saved)", f"{clips_per_window(windows):.2f}"],
                ["sound in the windows", f"{100 * speech / (len(windows) * window_seconds):.0f} %"],
                ["tokens a window", _spread(tokens)],
                ["windows with timestamps", str(sum(window.timestamps for window in windows))],
                ["windows after earlier text", str(sum(window.previous is not None for window in windows))],
            ],
        ),
        "",
        *(
            f"![]({Path('data') / f'{stage}-{name}.png'})"
            for name in ("clip-seconds", "window-seconds", "window-tokens")
        ),
        "",
        "### Dropped clips",
        "",
        *_dropped(corpus),
        "",
        "### Most frequent texts",
        "",
        *_repeated(clips),
        "",
    ]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"median {middle:.1f}, 5 % below {low:.1f}, 5 % above {high:.1f}"


def _dropped(corpus: Corpus) -> list[str]:
    if not corpus.dropped:
        return ["None."]
    rows = [[reason, str(count), _named(corpus.examples[reason])] for reason, count in corpus.dropped.most_common()]
    return _table(["reason", "clips", "among them"], rows)


def _named(names: list[str]) -> str:
    return ", ".join(names)


def _repeated(clips: Sequence[Clip]) -> list[str]:
    texts = Counter(clip.text.strip() for clip in clips if clip.text is not None)
    repeated = [[str(count), text[:200]] for text, count in texts.most_common(TOP) if count > 1]
    return _table(["times", "text"], repeated) if repeated else ["No text is there twice."]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    cells = [header, ["---"] * len(header), *([markdown(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(row) + " |" for row in cells]


def _histogram(path: Path, title: str, label: str, values: Sequence[float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.5), layout="constrained")
    axes = figure.subplots()
    axes.hist(values, bins=40, color="#08519c")
    axes.set(title=title, xlabel=label, ylabel="how many")
    axes.spines[["top", "right"]].set_visible(False)
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=100)
