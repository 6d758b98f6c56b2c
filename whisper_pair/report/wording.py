"""The figures and contenders of a report in words, the same in every table, plot and card."""

from pathlib import Path
from typing import Any

from .speed import DraftedSpeedup, SpeedRow
from .values import Interval, SpeedVerdict

OFF = 0.05  # of the rounds at a batch size; fewer that drafted are the trials by which "auto" finds that it should not
CONTENDERS = {
    ("pair", "greedy"): "main alone",
    ("pair", "speculative"): "pair",
    ("pair", "assistant"): "assistant alone",
    ("transformers", "greedy"): "main alone, transformers",
    ("transformers", "assisted"): "pair, transformers",
    ("faster-whisper", "greedy"): "main alone, faster-whisper",
}


def contender_name(row: SpeedRow) -> str:
    """Who was timed: what decodes, whose drafts and how many. Our engine is the one that is not named."""
    words = [CONTENDERS[row["engine"], row["mode"]]]
    if row["draft_tokens"] is not None:
        words.append(f"{row['draft_tokens']} drafts")
        if row["engine"] == "transformers":
            words[-1] += f" ({row['schedule']})"
    if row["assistant"] not in (None, "ours"):
        words.append(Path(str(row["assistant"])).name)
    return ", ".join(words)


def is_pair(row: SpeedRow) -> bool:
    """The pair as its users run it: the draft length chosen by the engine."""
    key = row["engine"], row["mode"], row["assistant"], row["draft_tokens"]
    return key == ("pair", "speculative", "ours", "auto")


def gain_text(row: SpeedRow) -> str:
    """The speedup over the main alone, called a gain only where its interval is above 1."""
    if (row["engine"], row["mode"]) == ("pair", "greedy"):
        return "1"
    return speedup_text(row)


def speedup_text(row: DraftedSpeedup) -> str:
    """The same of whatever is no baseline."""
    return times_text(row["speedup"], row["speedup_interval"], row["speedup_verdict"], row["steady"])


def drafting_gains(row: DraftedSpeedup) -> bool:
    """Whether the pair is clearly faster than the main alone, by drafts that it made."""
    return row["speedup_verdict"] == "faster" and not drafts_nothing(row)


def rounded_gain(ratio: float) -> str:
    """For a sentence: two digits, or three where two would say that nothing is gained."""
    return f"{ratio:.2g}x" if ratio >= 1.1 else f"{ratio:.3g}x"


def times_text(ratio: float, interval: Interval, verdict: SpeedVerdict, steady: bool) -> str:
    """How many times as fast, and what that is worth."""
    low, high = interval
    text = f"{ratio:.2f}x ({low:.2f} to {high:.2f})"
    if not steady:
        return text + ", still warming up"
    if verdict != "unclear":
        return text
    return text + (", no clear difference" if low <= 1 <= high else ", too few timings to tell")


def drafts_nothing(row: DraftedSpeedup) -> bool:
    """Whether the engine left drafting off, a few trials aside."""
    return (row["drafted_rounds"] or 0) <= OFF * (row["rounds"] or 0)


def joined(parts: list[str]) -> str:
    """A list in words: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def percent(share: float) -> str:
    """A share in words: 12.3 %."""
    return f"{100 * share:.1f} %"


def brackets(interval: Interval | None, scale: float = 1, digits: int = 1) -> str:
    """` (low to high)`, or nothing."""
    return "" if interval is None else f" ({scale * interval[0]:.{digits}f} to {scale * interval[1]:.{digits}f})"


def machine(hardware: dict[str, Any]) -> str:
    """The GPU, or else the CPU, by the name that it gives itself."""
    gpus: list[str] = hardware.get("gpus", [hardware.get("cpu", "an unknown CPU")])
    return gpus[0]
