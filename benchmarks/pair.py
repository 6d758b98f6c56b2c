"""A run's report as a committed result, and the tables of README and docs out of them.

    python benchmarks/pair.py record outputs/demo --command "make demo"     # -> benchmarks/results/demo.json
    python benchmarks/pair.py tables                                       # rewrites the tables in README.md and docs/

A result leaves out what a report says of single utterances.

A table stands between `<!-- table NAME -->` and `<!-- end -->` and is generated from results/NAME.json, never typed.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import cpu_tables, gpu_tables
from benchmarks.recipe_results import table as recipes_table
from benchmarks.tree_results import table as trees_table
from whisper_pair.report import pair_in_short_windows

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
PAGES = [README, *sorted((HERE.parent / "docs").glob("*.md"))]
TABLE = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


WHOLE = "ours, all tokens"  # the report's name for an assistant without its draft vocabulary
SECTIONS = ("pair", "data", "acceptance", "compared", "quality", "identity", "cost", "prediction", "memory", "verdict")


def record(output: Path, command: str, name: str | None = None) -> Path:
    """The report of a run, in the form of the other results."""
    report = json.loads((output / "eval" / "report.json").read_text(encoding="utf-8"))
    environment = report["environment"]
    result = {
        "command": command,
        "date": environment["date"],
        "machine": environment["hardware"],
        "versions": environment["versions"],
        "dtype": environment["dtype"],
        "rows": report["speed"]["rows"],
        "targets": targets(report["verdict"]),
    } | {key: report[key] for key in SECTIONS}
    if "short_windows" in report:
        result["short_windows"] = report["short_windows"]
    path = HERE / "results" / f"{name or output.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(lines(rounded(result)) + "\n", encoding="utf-8")
    return path


def targets(verdict: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What decided, and the article's marks. A batch size that is kept without drafting has no target."""
    named = [(c["name"], c) for c in verdict["criteria"] if not c["kept"]]
    named += [(f"article_{mark['name']}", mark) for mark in verdict["article"]]
    return {
        name: {"target": c["target"], "reached": c["figure"], "higher_is_better": c["higher_is_better"]}
        for name, c in named
    }


def rounded(value: Any) -> Any:
    """Six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def lines(value: Any, indent: int = 0) -> str:
    """JSON with whatever fits on a line on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(flat) + indent <= 120:
        return flat
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {lines(item, indent + 1)}" for key, item in value.items()]
    else:
        parts = [lines(item, indent + 1) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{pad}" + f",\n{pad}".join(parts) + f"\n{' ' * indent}{closing}"


def table(result: dict[str, Any]) -> str:
    """Error rate, agreement and end-to-end speed of each contender, with what they were measured on."""
    quality, metric = result["quality"], result["quality"]["metric"].upper()
    batches = sorted({row["batch_size"] for row in result["rows"]})
    header = ["", metric, "agreement", *(f"speed over greedy, batch {batch}" for batch in batches)]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    if "start" in quality:
        lines.append(["before fine-tuning", percent(quality["start"]), "", *("" for _ in batches)])
    lines.append(["main", percent(quality["main"]), "", *(speed(result, "pair", "greedy", None, b) for b in batches)])
    alone = [speed(result, "pair", "assistant", "ours", batch) for batch in batches]
    agreement = f"{result['acceptance']['agreement']:.3f}"
    lines.append(["assistant alone", percent(quality["assistant"]), "", *alone])
    ours = [speed(result, "pair", "speculative", "ours", batch) for batch in batches]
    lines.append(["**pair**", percent(quality["pair"]), agreement, *ours])
    drafts = fastest_drafts(result["rows"], batches[0])
    fixed = [speed(result, "pair", "speculative", "ours", batch, drafts) for batch in batches]
    lines.append([f"pair, always {drafts} drafts", "", "", *fixed])
    for name, section in result["compared"].items():
        figures = [speed(result, "pair", "speculative", name, batch) for batch in batches]
        label = "pair, drafting from all tokens" if name == WHOLE else f"main + {Path(name).name}, unmatched"
        lines.append([label, percent(quality[f"pair {name}"]), f"{section['agreement']:.3f}", *figures])
    for mode, assistant, label in (("greedy", None, "alone"), ("assisted", "ours", "with our assistant")):
        figures = [speed(result, "transformers", mode, assistant, batch) for batch in batches]
        lines.append([f"main {label}, by transformers", "", "", *figures])
    identity, data = result["identity"], result["data"]
    machine = result["machine"].get("gpus", [result["machine"].get("cpu", "CPU")])[0]
    cores = f", {result['machine']['cpu_cores']} cores" if "gpus" not in result["machine"] else ""
    text = (
        f"`{result['command']}` on {machine}{cores}, torch {result['versions']['torch']}, {result['date'][:10]}: "
        f"{data['clips']} test clips, {data['seconds'] / 60:.1f} minutes; output identical to the main's in "
        f"{identity['identical']} of {identity['utterances']}. Speeds are medians of interleaved passes, features to "
        "tokens; in brackets 95 % intervals of the ratios."
    )
    text += long_form(quality) + short_windows(result)
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines]) + f"\n\n{text}\n"


def short_windows(result: dict[str, Any]) -> str:
    """What windows as long as the clips give, where the main was trained on them."""
    if "short_windows" not in result:
        return ""
    section, metric = result["short_windows"], result["quality"]["metric"].upper()
    short, full = (percent(section[kind]["error_rate"]) for kind in ("short", "full"))
    gains = [
        f"at batch {row['batch_size']} it is {times(row, 'over_full')} as fast as in full ones and "
        f"{times(row, 'speedup')} as fast as the main alone in short ones"
        for row in pair_in_short_windows(section)
    ]
    found = (
        f" In windows that end with the clips the main's {metric} is {short} ({full} in full ones), and the pair's"
        f" tokens are the main's in {section['short']['identical']} of {section['clips']}; {'; '.join(gains)}."
    )
    long = result["quality"].get("long_form", {})
    if "short_windows" in long:
        short, full = (percent(long[name]) for name in ("short_windows", "main"))
        found += f" Long recordings: {short} in such windows, {full} in full ones."
    return found


def times(row: dict[str, Any], name: str) -> str:
    """A ratio and its interval."""
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.2f}x ({low:.2f}-{high:.2f})"


def long_form(quality: dict[str, Any]) -> str:
    """The pair over the main on recordings of several windows, where they were measured."""
    section = quality.get("long_form", {"skipped": "an older report"})
    if section["skipped"] is not None or section["speedup_interval"] is None:
        return ""
    mean = section["seconds"] / section["recordings"]
    return (
        f" On {section['recordings']} recordings of {mean:.0f} s ({section['mode']}, batch {section['batch_size']}, "
        f"{section['draft_tokens']} drafts) the pair was {times(section, 'speedup')} as fast as the main, its segments "
        f"the main's in {section['identical']}."
    )


def percent(rate: dict[str, Any]) -> str:
    return f"{100 * rate['rate']:.1f} %"


def fastest_drafts(rows: list[dict[str, Any]], batch: int) -> int:
    """The fixed draft length that was fastest."""
    fixed = [row for row in rows if row["schedule"] == "constant" and row["batch_size"] == batch]
    return max(fixed, key=lambda row: row["speedup"])["draft_tokens"]


def speed(
    result: dict[str, Any], engine: str, mode: str, assistant: str | None, batch: int, drafts: int | str = "auto"
) -> str:
    """Over our greedy; of our speculative rows, the one of a draft length ("auto": the engine's own choice)."""
    for row in result["rows"]:
        if (row["engine"], row["mode"], row["assistant"], row["batch_size"]) != (engine, mode, assistant, batch):
            continue
        if mode == "speculative" and row["draft_tokens"] != drafts:
            continue
        return times(row, "speedup")
    return "not taken"


def fill(text: str) -> str:
    """The text with every table made again."""

    def again(match: re.Match) -> str:
        result = json.loads((HERE / "results" / f"{match[2]}.json").read_text(encoding="utf-8"))
        if "question" in result["rows"][0]:
            return match[1] + recipes_table(result) + match[3]
        if "replayed" in result["rows"][0]:
            return match[1] + trees_table(result) + match[3]
        if "quality" not in result:
            made = cpu_tables.table(match[2], result) or gpu_tables.table(match[2], result)
            return match[0] if made is None else match[1] + made + match[3]  # None: its benchmark fills it itself
        return match[1] + table(result) + match[3]

    return TABLE.sub(again, text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="action", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("output", type=Path)
    recording.add_argument("--command", required=True, help="what made the run")
    recording.add_argument("--name", help="of the result; the folder's where it is left out")
    commands.add_parser("tables")
    args = parser.parse_args(arguments)
    if args.action == "record":
        print(record(args.output, args.command, args.name))
    else:
        for page in PAGES:
            page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
