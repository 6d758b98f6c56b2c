"""What short windows bring, in words: a clause of the headline, a line of the summary, and a fix where they lose."""

from .sections import Report
from .short_windows import WindowTimes, pair_in_short_windows
from .wording import drafting_gains, drafts_nothing, joined, percent, rounded_gain, speedup_text, times_text

ERRORS = "short_windows_errors"  # the criterion on what they cost


def short_windows_clause(report: Report) -> str:
    """What follows in the headline; nothing where the main was not trained on them."""
    if "short_windows" not in report:
        return ""
    section = report["short_windows"]
    if wrong := section["short"]["unexplained"]:
        return (
            f"; in windows as long as the clips, {wrong} of {section['clips']} transcripts differ from the main's by "
            "more than a near tie"
        )
    if _missed(report) is not None:
        return f"; {_loss(report)}, so give it full ones"
    pair = pair_in_short_windows(report["short_windows"])
    over_full = [(row["over_full"], row["batch_size"]) for row in pair if row["over_full_verdict"] == "faster"]
    over_main = [(row["speedup"], row["batch_size"]) for row in pair if drafting_gains(row)]
    if not over_full:
        return "; windows as long as the clips bring no clear gain"
    text = f"; with windows as long as the clips it is {_times(over_full)} as with full ones"
    return text + (f", and {_times(over_main)} as its main with them" if over_main else "")


def _times(gains: list[tuple[float, int]]) -> str:
    """`gains`: each with its batch size."""
    return joined([f"{rounded_gain(times)} as fast at batch {batch}" for times, batch in gains])


def short_windows_line(report: Report) -> str:
    """Speed at each batch size, over full windows and over the main alone, and both error rates."""

    def one(row: WindowTimes) -> str:
        over = times_text(row["over_full"], row["over_full_interval"], row["over_full_verdict"], row["steady"])
        off = ", drafting off" if drafts_nothing(row) else ""
        return f"batch {row['batch_size']}: over full ones {over}, over the main alone {speedup_text(row)}{off}"

    short, full = (percent(report["short_windows"][kind]["error_rate"]["rate"]) for kind in ("short", "full"))
    errors = f"the main's {report['quality']['metric'].upper()} {short}, in full ones {full}"
    fix = short_windows_fix(report)
    return "; ".join([*map(one, pair_in_short_windows(report["short_windows"])), errors]) + (f". {fix}" if fix else "")


def short_windows_fix(report: Report) -> str:
    """What to do where they cost more accuracy than the verdict allows; otherwise nothing."""
    missed = _missed(report)
    if missed is None:
        return ""
    loss = _loss(report)
    return (
        f"{loss[0].upper()}{loss[1:]}, more than the {100 * missed:g} that are allowed: transcribe with "
        "--short-windows off, or train the main again, with its encoder (train.parameters: all, or train.lora.encoder: "
        "true) and with more of such windows (train.short_windows.share) or longer ones (train.short_windows.margin)."
    )


def _missed(report: Report) -> float | None:
    """What the verdict allows them to cost, where they cost more."""
    missed = [c["target"] for c in report["verdict"]["criteria"] if c["name"] == ERRORS and not c["passed"]]
    return missed[0] if missed else None


def _loss(report: Report) -> str:
    short, full = (report["short_windows"][kind]["error_rate"]["rate"] for kind in ("short", "full"))
    metric = report["quality"]["metric"].upper()
    return f"windows as long as the clips cost its main {100 * (short - full):.1f} points of {metric}"
