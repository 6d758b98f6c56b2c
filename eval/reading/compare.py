"""Reports of several pairs side by side, and how they differ on the utterances that all of them share.

Differences to the first report come with a paired bootstrap: each draw takes the same utterances from both, so what is
hard for both does not blur their difference. An interval that holds 0 is no difference.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from whisper_pair.commands.command_line import guarded
from whisper_pair.errors import InputError
from whisper_pair.escaping import markdown
from whisper_pair.report import Report, Utterance, gain_text, is_pair, machine, percent, read_report

from ..measuring import difference_interval
from .report import table

RATIOS: dict[str, tuple[Callable[[Utterance], float], Callable[[Utterance], float]]] = {
    "agreement": (lambda row: row["agreed"], lambda row: row["tokens"]),
    "acceptance rate, 4 drafts": (lambda row: row["accepted"], lambda row: row["drafted"]),
    "tokens per round, 4 drafts": (lambda row: row["accepted"] + row["rounds"], lambda row: row["rounds"]),
    "error rate of the pair": (lambda row: row["pair"]["errors"], lambda row: row["length"]),
    "error rate of the assistant": (lambda row: row["assistant"]["errors"], lambda row: row["length"]),
}


def shared_utterances(reports: list[Report]) -> list[list[Utterance]]:
    """Each report's rows of the utterances that all share, in one order: those of equal name, length and human text.

    Of a clip's path only the file's name counts, for sets are moved. Raises InputError where nothing is shared.
    """

    def key(row: Utterance) -> tuple[str, float, str]:
        return Path(row["clip"]).name, round(row["seconds"], 3), row["reference"]

    keyed = [{key(row): row for row in report["utterances"]} for report in reports]
    common = sorted(set.intersection(*(set(rows) for rows in keyed)))
    if not common:
        raise InputError("the reports share no utterance: compare evaluations on the same test clips.")
    return [[rows[k] for k in common] for rows in keyed]


def compare(paths: list[str]) -> str:
    """A Markdown text. Raises InputError for a file that is no report."""
    if len(paths) < 2:
        raise InputError("there is nothing to compare: name two reports or more.")
    files = [found_report(path) for path in paths]
    reports = [read_report(file) for file in files]
    rows = shared_utterances(reports)
    names = [f"{chr(65 + i)}" for i in range(len(reports))]
    legend = [
        f"{name}: {r['pair']['main']} + {r['pair']['assistant']} ({file}; {r['environment']['dtype']} on "
        f"{machine(r['environment']['hardware'])}, {'passed' if r['verdict']['passed'] else 'not passed'})"
        for name, r, file in zip(names, reports, files, strict=True)
    ]
    text = (
        f"{len(rows[0])} utterances are shared. Differences are shown with the 95 % intervals of a paired bootstrap; "
        f"error rates are {' and '.join(sorted({r['quality']['metric'].upper() for r in reports}))}."
    )
    parts = ["\n".join(f"- {markdown(line)}" for line in legend), text, ratios(names, rows)]
    parts.append(speeds(names, reports))
    if len({machine(report["environment"]["hardware"]) for report in reports}) > 1:
        parts.append("The machines differ: speeds cannot be compared.")
    return "\n\n".join(parts)


def found_report(path: str) -> Path:
    """The file itself, or the one in a run's folder or its eval/."""
    candidates = (Path(path), Path(path) / "report.json", Path(path) / "eval" / "report.json")
    found = next((file for file in candidates if file.is_file()), None)
    if found is None:
        raise InputError(f"{path}: there is no report.json.")
    return found


Sums = tuple[list[float], list[float]]  # parts, wholes


def ratios(names: list[str], rows: list[list[Utterance]]) -> str:
    """The table of ratios, with their differences to the first report's."""
    header = ["on the shared utterances", *names, *(f"{name} - {names[0]}" for name in names[1:])]
    lines = []
    for label, (part, whole) in RATIOS.items():
        sums = [([part(row) for row in its], [whole(row) for row in its]) for its in rows]
        values = [f"{sum(parts) / max(1, sum(wholes)):.3f}" for parts, wholes in sums]
        lines.append([label, *values, *(difference(sums[0], other) for other in sums[1:])])
    return table(header, lines)


def difference(one: Sums, other: Sums) -> str:
    """Of two ratios, with its interval."""
    found = difference_interval(one, other)
    if found is None:
        return ""
    low, high = found
    text = (
        f"{sum(other[0]) / max(1, sum(other[1])) - sum(one[0]) / max(1, sum(one[1])):+.3f} ({low:+.3f} to {high:+.3f})"
    )
    return text if low > 0 or high < 0 else text + ", no clear difference"


def speeds(names: list[str], reports: list[Report]) -> str:
    """The pairs' speedups over their own greedy, as each report has them."""
    lines = [
        [
            "speed of a token by the assistant, over the main",
            *(f"{r['cost']['ours']['assistant_speedup']:.1f}x" for r in reports),
        ]
    ]
    batches = sorted({row["batch_size"] for report in reports for row in report["speed"]["rows"]})
    for batch in batches:
        lines.append(
            [f"speedup over the main alone, batch {batch}", *(speedup_at(report, batch) for report in reports)]
        )
    lines.append(["weights added to the main's", *(percent(r["memory"]["assistant_share"]) for r in reports)])
    return table(["as each measured it", *names], lines)


def speedup_at(report: Report, batch: int) -> str:
    """The pair's own, as its users run it."""
    for row in report["speed"]["rows"]:
        if is_pair(row) and row["batch_size"] == batch:
            return gain_text(row)
    return "not measured"


def main(argv: list[str] | None = None) -> int:
    """Prints the comparison, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="compare", description=__doc__)
    parser.add_argument("reports", nargs="+", help="report.json files, or the folders that hold them")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake in input")
    args = parser.parse_args(argv)
    return guarded(lambda: print(compare(args.reports)), args.debug)


if __name__ == "__main__":
    sys.exit(main())
