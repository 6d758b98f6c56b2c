"""report.json -> pictures: PNG files beside the report, and the same as SVG inside its page."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

from whisper_pair.escaping import plot_label
from whisper_pair.report import Report, SpeedRow, contender_name, rates_of
from whisper_pair.runs import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DARK, LIGHT, GREY = "#08519c", "#9ecae1", "#bdbdbd"
LINE, PLOT = 10, 230  # points: a label's line, and about the height of the plot that has such labels
PARTS = {"encoder": "#525252", "draft": "#fdae6b", "verification": DARK, "rest": GREY}


def figures(report: Report) -> "dict[str, Figure]":
    """Every picture that the report has figures for, by name."""
    found = {
        "acceptance": acceptance(report),
        "surface": surface(report),
        "parts": parts(report),
        "quality_speed": quality_speed(report),
        "speed": speed(report),
    }
    if report["training"]:
        found["training"] = training(report)
    return found


def draw(report: Report, folder: Path) -> None:
    """Writes every plot that the report has figures for into `folder`."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(exist_ok=True)
    for name, figure in figures(report).items():
        with whole_file(folder / f"{name}.png") as file:
            figure.savefig(file, format="png", dpi=120)


def svg(figure) -> str:
    """The figure as an SVG element that fits the width it is given; text stays text."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', text, count=1)


def _new(title: str, x: str, y: str, size: tuple[float, float] = (6.4, 3.8)):
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def acceptance(report: Report):
    """Accepted drafts by position."""
    longest = max(report["acceptance"]["by_draft_tokens"], key=lambda row: row["draft_tokens"])
    figure, axes = _new("Accepted drafts by position", "position in the draft", "share of rounds")
    places = range(1, longest["draft_tokens"] + 1)
    axes.bar(places, longest["position_joint"], color=LIGHT, label="this and all before it")
    reached = sum(share > 0 for share in longest["position_joint"]) + 1  # beyond the next one there is no condition
    given = longest["position_conditional"][:reached]
    axes.plot(places[: len(given)], given, "o-", color=DARK, label="this, given all before it")
    axes.set_ylim(0, 1.05)
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def surface(report: Report):
    """Predicted end-to-end speedup over draft length and batch; what was measured stands in brackets."""
    batches = report["prediction"]["by_batch_size"]
    values = [[prediction["end_to_end"] for prediction in batch["predictions"]] for batch in batches]
    lengths = [prediction["draft_tokens"] for prediction in batches[0]["predictions"]]
    title = "Speedup over greedy, end to end: predicted (measured)"
    figure, axes = _new(title, "tokens drafted a round", "batch", (9.6, 1.6 + 0.6 * len(batches)))
    farthest = max(abs(value - 1) for row in values for value in row) or 1.0
    axes.imshow(values, aspect="auto", cmap="RdYlGn", vmin=1 - farthest, vmax=1 + farthest)
    axes.set_xticks(range(len(lengths)), lengths)
    axes.set_yticks(range(len(batches)), [str(batch["batch_size"]) for batch in batches])
    for y, batch in enumerate(batches):
        for x, prediction in enumerate(batch["predictions"]):
            measured = f"\n({prediction['measured']:.2f})" if prediction["measured"] is not None else ""
            ink = "white" if abs(prediction["end_to_end"] - 1) > 0.7 * farthest else "black"
            text = f"{prediction['end_to_end']:.2f}{measured}"
            axes.text(x, y, text, ha="center", va="center", fontsize=7.5, color=ink)
    return figure


def parts(report: Report):
    """Seconds of encoder, drafting and verification."""
    rows = [row for row in report["speed"]["rows"] if row["parts"] is not None]
    names = [f"batch {row['batch_size']}, {row['draft_tokens'] or 0} drafts" for row in rows]
    title = "Where the time goes"
    figure, axes = _new(title, "seconds of a pass over the timed clips", "", (6.4, 1.4 + 0.3 * len(rows)))
    left = [0.0] * len(rows)
    for part, color in PARTS.items():
        widths = [cast(dict[str, float], row["parts"])[part] for row in rows]
        axes.barh(names, widths, left=left, color=color, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    figure.legend(frameon=False, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def training(report: Report):
    """Agreement on the validation clips while the assistant was distilled."""
    history = [row for row in report["training"] if "agreement" in row]
    figure, axes = _new("Agreement while it was distilled (validation)", "step", "agreement")
    axes.plot([row["step"] for row in history], [row["agreement"] for row in history], "o-", color=DARK)
    return figure


def quality_speed(report: Report):
    """Error rate against speed at the smallest timed batch. Whoever says the main's text has the main's error rate."""
    rates, rows = rates_of(report["quality"]), report["speed"]["rows"]
    batch = min(row["batch_size"] for row in rows)
    title = f"Error rate and speed, batch {batch}"
    figure, axes = _new(title, "seconds of audio per second", report["quality"]["metric"].upper() + ", %", (6.4, 4.6))
    level: dict[float, list] = {}  # contenders by error rate, for most have the main's
    for row in rows:
        if row["batch_size"] != batch or (row["engine"] != "pair" and row["unexplained"]):
            continue
        if row["engine"] == "pair" and isinstance(row["draft_tokens"], int):
            continue  # the grid of draft lengths has a picture of its own
        text_of = "assistant" if row["mode"] == "assistant" else "main"
        level.setdefault(100 * rates[text_of]["rate"], []).append(row)
    for rate, alike in level.items():
        for number, row in enumerate(sorted(alike, key=lambda row: row["rtfx"])):  # each label a line above the last
            axes.plot(row["rtfx"], rate, "o", color=DARK if row["engine"] == "pair" else GREY)
            axes.annotate(
                label(row), (row["rtfx"], rate), (0, LINE * (number + 1)), textcoords="offset points", ha="center",
                fontsize=7, arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkB": 3},
            )  # fmt: skip
    room = LINE * (max(map(len, level.values())) + 2) / PLOT  # share of the height that labels take
    height = (max(level) - min(level) or 1.0) / (0.9 - room)
    axes.set_ylim(min(level) - 0.1 * height, max(level) + room * height)
    axes.margins(x=0.25)
    return figure


def speed(report: Report):
    """Speed of every contender, with intervals."""
    rows = report["speed"]["rows"]
    names = [f"batch {row['batch_size']}: {label(row)}" for row in rows]
    figure, axes = _new("End to end", "seconds of audio per second", "", (8, 1.2 + 0.26 * len(rows)))
    axes.barh(names, [row["rtfx"] for row in rows], color=[DARK if row["engine"] == "pair" else GREY for row in rows])
    axes.invert_yaxis()
    return figure


def label(row: SpeedRow) -> str:
    """The contender's name as a plot may show it."""
    return plot_label(contender_name(row))
