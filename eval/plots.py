"""report.json -> pictures."""

from pathlib import Path
from typing import Any


def draw(report: dict[str, Any], folder: Path) -> None:
    """Acceptance by position, predicted speedup by draft length, and seconds by contender, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(exist_ok=True)
    _acceptance(report, folder / "acceptance.png")
    _draft_length(report, folder / "draft_length.png")
    _speed(report, folder / "speed.png")


def _new(title: str, x: str, y: str):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _acceptance(report: dict[str, Any], path: Path) -> None:
    longest = max(report["acceptance"]["by_draft_tokens"], key=lambda row: row["draft_tokens"])
    figure, axes = _new("Accepted drafts by position", "position in the draft", "share of rounds")
    places = range(1, longest["draft_tokens"] + 1)
    axes.bar(places, longest["position_joint"], color="#9ecae1", label="this and all before it")
    axes.plot(places, longest["position_conditional"], "o-", color="#08519c", label="this, given all before it")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def _draft_length(report: dict[str, Any], path: Path) -> None:
    figure, axes = _new(
        "Speedup that the cost model predicts, batch 1", "tokens drafted a round", "speedup over greedy"
    )
    compared = {"ours": report["acceptance"], **report["compared"]}
    for name, section in compared.items():
        rows = section["by_draft_tokens"]
        axes.plot(
            [r["draft_tokens"] for r in rows], [r["predicted_speedup"] for r in rows], "o-", label=Path(name).name
        )
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def _speed(report: dict[str, Any], path: Path) -> None:
    rows = report["speed"]["rows"]
    figure, axes = _new("End to end", "seconds of audio per second", "")
    names = [f"batch {r['batch_size']}: {r['engine']} {r['mode']} {Path(r['assistant'] or '').name}" for r in rows]
    axes.barh(names, [r["rtfx"] for r in rows], color=["#08519c" if r["engine"] == "pair" else "#bdbdbd" for r in rows])
    axes.invert_yaxis()
    figure.set_size_inches(8, 1.2 + 0.32 * len(rows))
    figure.savefig(path, dpi=120)
