"""report.json -> plots: PNG files beside the report, and the same as SVG inside its page.

A plot is as wide as a phone, so that its text is legible there too; names and figures are on the bars.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from whisper_pair.escaping import plot_label
from whisper_pair.report import (
    Interval,
    Rate,
    SpeedRow,
    brackets,
    contender_name,
    percent,
    rates_of,
)
from whisper_pair.runs import whole_file

from .sections import rate_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from whisper_pair.report import AcceptanceSection, MainReport, Report, SpeedSection

WIDTH = 5.0  # inches; 360 points are 360 pixels on a phone
INK = "#1f2329"  # text and axes; on the page the colour of the text around it
OURS, PALE, OTHERS = "#2f7fd1", "#8fbfe8", "#9aa2ab"  # legible on white and on black
PARTS = {"encoder": "#9aa2ab", "draft": "#e08a3c", "verification": OURS, "rest": "#c9ced4"}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@dataclass(frozen=True)
class Bar:
    """One bar: its name is above it, its figures at its end."""

    name: str
    value: float
    text: str
    color: str = OTHERS
    interval: Interval | None = None


def figures(report: "Report") -> "dict[str, Figure]":
    """Every plot that the report has figures for, by name."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        found = {
            "quality": quality(report),
            "acceptance": acceptance(report),
            "tokens_won": tokens_won(report["acceptance"]),
            "draft_length": draft_length(report),
            "speed": speed(report["speed"]),
            "parts": parts(report),
        }
        if any("agreement" in row for row in report["training"]):
            found["training"] = training(report)
    return found


def main_figures(report: "MainReport") -> "dict[str, Figure]":
    """The same of a main alone."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        return {"speed": speed(report["speed"])}


def draw(figures: "Callable[[], dict[str, Figure]]", folder: Path) -> None:
    """Each plot as a PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(exist_ok=True)
    for name, figure in figures().items():
        with whole_file(folder / f"{name}.png") as file:
            figure.savefig(file, format="png", dpi=160)


def svg(figure: "Figure") -> str:
    """The figure as an SVG element that fits the width it is given, in the colours of its page; text stays text."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', text, count=1)


def _new(title: str, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def _bars(title: str, groups: "Sequence[tuple[str, Sequence[Bar]]]") -> "Figure":
    """Horizontal bars, in named groups."""
    lines = sum(len(bars) + bool(name) for name, bars in groups)
    figure, axes = _new(title, 0.6 + 0.46 * lines)
    y, longest = 0.0, max(bar.interval[1] if bar.interval else bar.value for _, bars in groups for bar in bars)
    for name, bars in groups:
        if name:
            axes.text(0, y, plot_label(name), fontweight="bold", va="center")
            y += 1
        for bar in bars:
            axes.barh(y + 0.2, bar.value, height=0.34, color=bar.color)
            end = bar.value
            if bar.interval is not None:
                low, high = bar.interval
                end = max(end, high)
                axes.plot([low, high], [y + 0.2] * 2, color=INK, linewidth=1)
            axes.text(0, y - 0.2, plot_label(bar.name), va="center")
            axes.text(end + 0.015 * longest, y + 0.2, bar.text, va="center")
            y += 1
    axes.set(xlim=(0, 1.5 * longest or 1), ylim=(y - 0.3, -0.6))
    axes.set_axis_off()
    return figure


def quality(report: "Report") -> "Figure":
    """The error rates of main, assistant and pair, and of the checkpoint before fine-tuning."""
    metric = report["quality"]["metric"].upper()
    rates = rates_of(report["quality"])
    names = [name for name in ("start", "main", "pair", "assistant") if name in rates]
    return _bars(f"{metric}, with 95 % intervals", [("", [_rate_bar(name, rates[name]) for name in names])])


def _rate_bar(name: str, rate: Rate) -> Bar:
    color = OURS if name in ("main", "pair") else OTHERS
    text = f"{percent(rate['rate'])}{brackets(rate['interval'], 100)}"
    return Bar(rate_name(name), rate["rate"], text, color, rate["interval"])


def speed(section: "SpeedSection") -> "Figure":
    """Every contender's speedup over the main alone, by batch size."""
    groups = [
        (f"batch {batch}", [_speed_bar(row) for row in rows])
        for batch, rows in groupby(section["rows"], key=lambda row: row["batch_size"])
    ]
    return _bars("Speedup over the main alone, with 95 % intervals", groups)


def _speed_bar(row: SpeedRow) -> Bar:
    color = OURS if row["engine"] == "pair" else OTHERS
    if (row["engine"], row["mode"]) == ("pair", "greedy"):
        return Bar(contender_name(row), 1.0, "1", color)
    text = f"{row['speedup']:.2f}x{brackets(row['speedup_interval'], 1, 2)}"
    return Bar(contender_name(row), row["speedup"], text, color, row["speedup_interval"])


def parts(report: "Report") -> "Figure":
    """Where a pass's seconds go, of our engine's greedy and of fixed draft lengths."""
    rows = [row for row in report["speed"]["rows"] if row["parts"] is not None]
    figure, axes = _new("Where the time goes, seconds of a pass", 0.9 + 0.46 * len(rows))
    longest = max(row["seconds"] for row in rows)
    for y, row in enumerate(rows):
        left, seconds = 0.0, cast(dict[str, float], row["parts"])
        for part, color in PARTS.items():
            axes.barh(y + 0.2, seconds[part], height=0.34, left=left, color=color, label=part if y == 0 else None)
            left += seconds[part]
        axes.text(0, y - 0.2, plot_label(f"batch {row['batch_size']}: {contender_name(row)}"), va="center")
        axes.text(left + 0.015 * longest, y + 0.2, f"{row['seconds']:.2f} s", va="center")
    axes.set(xlim=(0, 1.2 * longest), ylim=(len(rows) - 0.3, -0.6))
    axes.set_axis_off()
    figure.legend(loc="outside lower left", ncols=4)
    return figure


def acceptance(report: "Report") -> "Figure":
    """Accepted drafts by position, at the greatest draft length."""
    longest = max(report["acceptance"]["by_draft_tokens"], key=lambda row: row["draft_tokens"])
    figure, axes = _new("Accepted drafts by position, share of rounds", 3.0)
    positions = range(1, longest["draft_tokens"] + 1)
    axes.bar(positions, longest["position_joint"], color=PALE, label="it and all before it accepted")
    for position, share in zip(positions, longest["position_joint"], strict=True):
        axes.text(position, share + 0.01, f"{share:.2f}".removeprefix("0"), ha="center", va="bottom", fontsize=7)
    reached = sum(share > 0 for share in longest["position_joint"]) + 1  # beyond the next one there is no condition
    given = longest["position_conditional"][:reached]
    axes.plot(positions[: len(given)], given, "o-", color=OURS, label="it, where all before it were")
    axes.set(ylim=(0, 1.12), xticks=list(positions), xlabel="position in the draft")
    figure.legend(loc="outside lower left", ncols=2)
    return figure


def tokens_won(section: "AcceptanceSection") -> "Figure":
    """Tokens that a round wins by passes of the assistant: a chain drafts one token a pass, a tree several."""
    figure, axes = _new(f"Tokens won per round, {percent(section['agreement'])} of the tokens predicted", 3.2)
    trees = section.get("by_tree", [])
    longest = max(8, *(row["depth"] for row in trees)) if trees else 16
    chains = [row for row in section["by_draft_tokens"] if row["draft_tokens"] <= longest]
    lengths, won = [row["draft_tokens"] for row in chains], [row["mean_accepted_length"] for row in chains]
    axes.plot(lengths, won, color=OTHERS, label="chain: first choices alone")
    for number, row in enumerate(trees):
        at = row["depth"], row["mean_accepted_length"]
        axes.plot(*at, "o", color=OURS, label="tree: other choices too" if number == 0 else None)
        axes.annotate(f"{row['nodes']} drafts", at, (6, 0), textcoords="offset points", va="center", fontsize=7)
    axes.margins(0.08, 0.12)
    axes.set(xticks=range(1, longest + 1), xlabel="draft passes per round")
    figure.legend(loc="outside lower left", ncols=2)
    return figure


def draft_length(report: "Report") -> "Figure":
    """End-to-end speedup over the draft length at each batch size: predicted, and measured with its interval."""
    figure, axes = _new("Speedup over the main alone, by draft tokens per round", 3.2)
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    for number, batch in enumerate(report["prediction"]["by_batch_size"]):
        color = (OURS, "#e08a3c", "#2da44e", "#a371d6")[number % 4]
        lengths = [p["draft_tokens"] for p in batch["predictions"]]
        label = f"batch {batch['batch_size']}"
        axes.plot(lengths, [p["end_to_end"] for p in batch["predictions"]], color=color, label=f"{label}, predicted")
        for p in batch["predictions"]:
            if p["measured"] is not None and p["measured_interval"] is not None:
                axes.plot([p["draft_tokens"]] * 2, p["measured_interval"], color=color, linewidth=1)
                axes.plot(p["draft_tokens"], p["measured"], "o", color=color)
    axes.plot([], [], "o-", color=OTHERS, label="measured, 95 % interval")
    axes.set(xticks=list(range(0, 17, 2)), xlabel="draft tokens per round")
    figure.legend(loc="outside lower left", ncols=2)
    return figure


def training(report: "Report") -> "Figure":
    """The assistant's agreement with the main while it was distilled."""
    history = [row for row in report["training"] if "agreement" in row]
    figure, axes = _new("Agreement on the validation clips, during distillation", 2.6)
    axes.plot([row["step"] for row in history], [row["agreement"] for row in history], "o-", color=OURS)
    for row in history:
        axes.annotate(f"{row['agreement']:.3f}", (row["step"], row["agreement"]), (0, 5), textcoords="offset points")
    axes.margins(0.1, 0.2)
    axes.set_xlabel("step")
    return figure
