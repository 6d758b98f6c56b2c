"""Windows as long as the clips beside full ones, where the main was trained on both."""

from collections.abc import Callable

from whisper_pair.report import (
    Interval,
    Report,
    ShortWindowsSection,
    WindowFigures,
    WindowTimes,
    brackets,
    percent,
    short_windows_fix,
    speedup_text,
    times_text,
)

from .section import Section, Table

Row = tuple[str, Callable[[WindowFigures], str]]


def short_windows(report: Report) -> Section | None:
    """A column a kind of windows, and a row a way to decode them."""
    if "short_windows" not in report:
        return None
    section, metric = report["short_windows"], report["quality"]["metric"].upper()
    text = (
        "The main was trained on windows that end soon after their speech, and transcribing decodes such windows, at "
        f"least {section['margin']:g} s longer than the clip. All other parts of this report are about full windows, "
        "as transformers takes them, but for what long recordings and memory say of short ones. Errors, drafts and "
        f"tokens are over all {section['clips']} clips; the pair's tokens are compared with the main's in the "
        f"same windows. Times are of {section['timed_clips']} clips, "
        f"medians of {section['repeats']} passes in which all rows of a batch size take turns, in brackets their "
        "quartiles."
    )
    fix = short_windows_fix(report)
    return Section("Short windows", f"{text}\n\n{fix}" if fix else text, (_figures(section, metric), _times(section)))


def _figures(section: ShortWindowsSection, metric: str) -> Table:
    sizes = [cost["batch_size"] for cost in section["full"]["cost"]]
    rows: list[Row] = [
        ("a window, s", lambda its: f"{its['seconds']:.1f}"),
        (f"the main's {metric}", lambda its: _share(its["error_rate"]["rate"], its["error_rate"]["interval"])),
        ("texts that ran into the length limit", lambda its: str(its["loops"])),
        ("tokens that the assistant predicts", lambda its: _share(its["agreement"], its["agreement_interval"])),
        (
            f"tokens per round, {section['draft_tokens']} drafts",
            lambda its: f"{its['mean_accepted_length']:.2f}{brackets(its['mean_accepted_length_interval'], 1, 2)}",
        ),
        ("clips whose tokens are the main's", lambda its: f"{its['identical']} of {section['clips']}"),
        *(_step(number, size) for number, size in enumerate(sizes)),
        ("c: the assistant's time for one token over the main's", lambda its: f"{its['cost'][0]['cost_ratio']:.3f}"),
        ("best draft tokens by these costs, batch 1", _best),
        (f"caches at batch {sizes[-1]}, MB", lambda its: f"{its['cache_megabytes']:.1f}"),
    ]
    cells = [[name, of(section["full"]), of(section["short"])] for name, of in rows]
    over = section["short"]["error_rate"].get("over_main_interval")
    if over is not None:
        cells[1][-1] += f", {100 * over[0]:+.1f} to {100 * over[1]:+.1f} points over full ones"
    return Table(["", "full windows", "short windows"], cells)


def _share(share: float, interval: Interval | None) -> str:
    return percent(share) + brackets(interval, 100)


def _best(its: WindowFigures) -> str:
    return f"{its['best_draft_tokens']} ({its['predicted_speedup']:.2f}x)"


def _step(number: int, batch_size: int) -> Row:
    name = f"one token of the main, batch {batch_size}, ms"
    return name, lambda its: f"{its['cost'][number]['main_milliseconds']:.2f}"


def _times(section: ShortWindowsSection) -> Table:
    header = ["batch", "decoding", "windows", "a clip, ms", "encoder's share"]
    header += ["speedup over the main alone in such windows", "speedup over full windows"]
    return Table(header, [_row(row) for row in section["rows"]])


def _row(row: WindowTimes) -> list[str]:
    alone, full = row["mode"] == "greedy", row["windows"] == "full"
    over = times_text(row["over_full"], row["over_full_interval"], row["over_full_verdict"], row["steady"])
    return [
        str(row["batch_size"]),
        "main alone" if alone else "pair, auto drafts",
        row["windows"],
        f"{row['milliseconds']:.1f}{brackets(row['milliseconds_spread'])}",
        percent(row["encoder_share"]),
        "1" if alone else speedup_text(row),
        "1" if full else over,
    ]
