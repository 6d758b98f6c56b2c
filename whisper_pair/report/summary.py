"""A report in one sentence, and its verdict in five lines: what the page begins with, and what a run ends with."""

from .sections import MainReport, Report
from .short_windows_words import ERRORS, short_windows_clause, short_windows_line
from .speed import SpeedRow
from .wording import (
    brackets,
    drafting_gains,
    drafts_nothing,
    gain_text,
    is_pair,
    joined,
    machine,
    percent,
    rounded_gain,
)

CRITERIA = {
    "assistant_speedup": "the assistant's speed per token over the main's",
    "agreement": "share of the main's tokens that the assistant predicts",
    "batch_sizes_faster": "batch sizes at which the pair is faster than the main alone",
    "identical_output": "share of the test clips whose tokens are the main's",
    "baseline_unexplained": "transformers' transcripts that differ from ours by more than a near tie",
    "leaked_clips": "test clips that were trained on",
    "counters_equal": "share of the transcripts whose counted rounds equal the offline replay",
    "long_form_identical": "share of the long recordings whose segments are the main's",
    "timed_output_identical": "share of the timed transcripts that are the main's",
    ERRORS: "the main's error rate in short windows less that in full ones",
    "short_windows_identical": "share of the test clips whose tokens in short windows are the main's in them",
    "short_windows_long_form_identical": "share of the long recordings whose segments in short windows are the main's",
    "short_windows_timed_identical": "share of the transcripts timed in short windows that are the main's in them",
}


def criterion_name(name: str) -> str:
    """What a criterion's figure is, in words."""
    if name in CRITERIA:
        return CRITERIA[name]
    kind, batch = name.split("speedup_batch_")
    return f"speedup over the main alone{' in short windows' if kind else ''}, batch {batch}"


def headline(report: Report) -> str:
    """One sentence: is the text the main's, and where is the pair faster?"""
    identity, where = report["identity"], machine(report["environment"]["hardware"])
    if identity["unexplained"]:
        return (
            f"This pair does not write what its main writes: {identity['unexplained']} of {identity['utterances']} "
            "transcripts differ by more than a near tie."
        )
    pair = [row for row in report["speed"]["rows"] if is_pair(row)]
    faster = [row for row in pair if drafting_gains(row)]
    text = "This pair writes what its main writes"
    if faster:
        text += f", {joined([_times(row) for row in faster])} on {where}"
    rest = _without_gain([row for row in pair if row not in faster])
    if rest:
        text += ("; " if faster else f"; on {where} ") + joined(rest)
    return text + short_windows_clause(report) + "."


def _times(row: SpeedRow) -> str:
    return f"{rounded_gain(row['speedup'])} as fast at batch {row['batch_size']}"


def _without_gain(rows: list[SpeedRow]) -> list[str]:
    """A sentence for the batch sizes without a gain; those with the same outcome share it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(_rest(row), []).append(str(row["batch_size"]))
    return [
        outcome.format(at=f"at batch{'es' if len(batches) > 1 else ''} {joined(batches)}")
        for outcome, batches in found.items()
    ]


def _rest(row: SpeedRow) -> str:
    """A batch size without a gain; {at} is where."""
    if drafts_nothing(row):
        return "drafting does not pay off {at}"
    if row["speedup_verdict"] == "slower":
        return f"it is slower than its main {{at}} ({row['speedup']:.2g}x)"
    low, high = row["speedup_interval"]
    if low > 1 or high < 1:
        return "there are too few timings to show a gain {at}"
    return "there is no clear gain {at}"


def verdict_lines(report: Report) -> list[tuple[str, str]]:
    """(what, figures) of the verdict, the text, the speed, the errors, the drafts, and short windows where the main was
    trained on them."""
    lines = [
        ("verdict", _verdict(report)),
        ("text", _text(report)),
        ("speed", _speed(report)),
        (report["quality"]["metric"].upper(), _errors(report)),
        ("drafts", _drafts(report)),
    ]
    return [*lines, ("short windows", short_windows_line(report))] if "short_windows" in report else lines


def _verdict(report: Report) -> str:
    missed = [criterion_name(c["name"]) for c in report["verdict"]["criteria"] if not c["passed"]]
    return "not passed: " + "; ".join(missed) if missed else "passed"


def _text(report: Report) -> str:
    identity = report["identity"]
    text = f"{identity['identical']} of {identity['utterances']} transcripts are the main's, token for token"
    if identity["near_ties"]:
        text += f"; {identity['near_ties']} differ by a near tie in {report['environment']['dtype']}"
    if identity["unexplained"]:
        text += f"; {identity['unexplained']} differ by more"
    return text


def _speed(report: Report) -> str:
    def one(row: SpeedRow) -> str:
        return f"batch {row['batch_size']}: {gain_text(row)}" + (", drafting off" if drafts_nothing(row) else "")

    return "; ".join(one(row) for row in report["speed"]["rows"] if is_pair(row))


def _errors(report: Report) -> str:
    quality = report["quality"]
    if quality["main"]["errors"] == quality["pair"]["errors"]:
        rates = [("main and pair", quality["main"])]
    else:
        rates = [("main", quality["main"]), ("pair", quality["pair"])]
    rates.append(("assistant alone", quality["assistant"]))
    if "start" in quality:
        rates.append(("before fine-tuning", quality["start"]))
    return ", ".join(f"{name} {percent(rate['rate'])}{brackets(rate['interval'], 100)}" for name, rate in rates)


def _drafts(report: Report) -> str:
    acceptance, faster = report["acceptance"], report["cost"]["ours"]["assistant_speedup"]
    best = next(row for row in acceptance["by_draft_tokens"] if row["draft_tokens"] == acceptance["best_draft_tokens"])
    return (
        f"the assistant predicts {percent(acceptance['agreement'])} of the main's tokens and is {faster:.1f}x as fast "
        f"per token; {best['draft_tokens']} draft tokens per round give {best['mean_accepted_length']:.2f} tokens"
    )


def summary(sentence: str, lines: list[tuple[str, str]]) -> str:
    """The sentence and its lines, as text for a terminal."""
    width = max(len(name) for name, _ in lines)
    return "\n".join([sentence, *(f"  {name:<{width}}  {figures}" for name, figures in lines)])


def main_headline(report: MainReport) -> str:
    """One sentence on a main alone: its errors and its speed."""
    rows = _greedy(report)
    first = min(rows, key=lambda row: row["batch_size"])
    metric, rate = report["quality"]["metric"].upper(), report["quality"]["main"]["rate"]
    return (
        f"This model's {metric} is {percent(rate)}, and it transcribes {first['rtfx']:.3g}x as fast as speech at batch "
        f"{first['batch_size']} on {machine(report['environment']['hardware'])}."
    )


def main_lines(report: MainReport) -> list[tuple[str, str]]:
    """(what, figures) of the errors and the speed."""
    quality = report["quality"]
    errors = f"{percent(quality['main']['rate'])}{brackets(quality['main']['interval'], 100)}"
    speeds = [(row["batch_size"], row["rtfx"], row["latency_p50"]) for row in _greedy(report)]
    speed = "; ".join(f"batch {batch}: RTFx {rtfx:.1f}, latency {wait:.3f} s" for batch, rtfx, wait in speeds)
    return [(quality["metric"].upper(), errors), ("speed", speed)]


def _greedy(report: MainReport) -> list[SpeedRow]:
    return [row for row in report["speed"]["rows"] if (row["engine"], row["mode"]) == ("pair", "greedy")]
