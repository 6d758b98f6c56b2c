"""Error rates, of the test clips and of long recordings."""

from whisper_pair.report import DataSection, LongForm, MainReport, Quality, Rate, Report, brackets, percent, rates_of
from whisper_pair.text import normalization_name

from .section import Section, Table

NAMES = {
    "start": "main before fine-tuning",
    "apart": "main, each clip by itself",
    "assistant": "assistant alone",
    "short_windows": "main, in windows as long as their sound",
}
MODES = {
    "sequential": "by Whisper's sequential algorithm, with timestamps",
    "chunked": "in chunks cut at quiet places, since the main has no timestamps or was fine-tuned without them",
}


def accuracy(report: Report) -> Section:
    """Every contender's error rate on the test clips."""
    section, data = report["quality"], report["data"]
    text = (
        f"{_compared(section['metric'], section['main'], data)} The pair's text is the main's in "
        f"{section['texts_equal']} of {data['clips']} clips."
    )
    return Section("Accuracy", text, (_rates(section["metric"], rates_of(section)),), ("quality",))


def main_accuracy(report: MainReport) -> Section:
    """The error rate of a main alone."""
    metric, rate = report["quality"]["metric"], report["quality"]["main"]
    return Section("Accuracy", _compared(metric, rate, report["data"]), (_rates(metric, {"main": rate}),))


def _compared(metric: str, main: Rate, data: DataSection) -> str:
    language = "en" if data["task"] == "translate" else data["language"]
    return f"{_unit(metric, main)} Both texts are compared after {normalization_name(language)}."


def rate_name(name: str) -> str:
    """A contender's name, from its key among the error rates."""
    return NAMES.get(name, name)


def long_form(quality: Quality) -> Section:
    """Recordings of several windows."""
    section = quality["long_form"]
    if section["skipped"] is not None:
        return Section("Long recordings", f"Not measured: {section['skipped']}")
    rates = {"main": section["main"], "pair": section["pair"]}
    if "short_windows" in section:
        rates["short_windows"] = section["short_windows"]
    if "apart" in section:
        rates["apart"] = section["apart"]
    text = f"{_recordings(section, quality['metric'])}\n\n{_speed(section)}"
    return Section("Long recordings", text, (_rates(quality["metric"], rates),))


def _recordings(section: LongForm, metric: str) -> str:
    whose = "of one speaker each" if section["speakers_told"] else "in the set's order, for no speakers are named"
    count = "1 recording" if section["recordings"] == 1 else f"{section['recordings']} recordings"
    return (
        f"{count}, {section['seconds'] / 60:.1f} minutes, joined from {section['clips']} test clips {whose}, decoded "
        f"{MODES[section['mode']]}; greedy, without temperature fallback or previous text, batch "
        f"{section['batch_size']}. {_unit(metric, section['main'])} Intervals are over recordings."
    )


def _speed(section: LongForm) -> str:
    unclear = ", no clear difference" if section["speedup_verdict"] == "unclear" else ""
    per_round = 1 + section["accepted"] / section["rounds"]
    same = f"{section['identical']} of {section['recordings']}"
    if "short_windows_identical" in section:
        same += f", and in {section['short_windows_identical']} where windows end with their sound"
    return (
        f"The pair's segments, times included, are the main's in {same}. "
        f"With {section['draft_tokens']} draft tokens per round, a round gave {per_round:.2f} tokens "
        f"({section['accepted']} of {section['drafted']} drafts accepted). Audio to text took the main "
        f"{section['main_seconds']:.1f} s and the pair {section['pair_seconds']:.1f} s: {section['speedup']:.2f}x"
        f"{brackets(section['speedup_interval'], 1, 2)}{unclear}, from one timed pass in turns."
    )


def _unit(metric: str, main: Rate) -> str:
    unit = "words" if metric == "wer" else "characters"
    return f"{metric.upper()} over {main['length']} {unit} of reference."


def _rates(metric: str, rates: dict[str, Rate]) -> Table:
    rows = []
    for name, rate in rates.items():
        over = rate.get("over_main_interval")
        rows.append(
            [
                rate_name(name),
                f"{percent(rate['rate'])}{brackets(rate['interval'], 100)}",
                str(rate["errors"]),
                "" if over is None else f"{100 * over[0]:+.1f} to {100 * over[1]:+.1f}",
            ]
        )
    return Table(["", metric.upper(), "errors", "points over the main"], rows)
