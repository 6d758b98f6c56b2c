"""A card's figures, every one of them from the run's report.json."""

from collections.abc import Sequence

from ..escaping import markdown
from ..report import AcceptanceRow, Report, SpeedRow, brackets, criterion_name, is_pair, machine, percent
from ..text import normalization_name
from .names import Release

SHOWN = 8  # draft lengths in the table


def results(release: Release) -> str:
    """The one table: errors, speed and acceptance, each row with its draft length, and what they were measured on."""
    report = release.report
    metric, batch = report["quality"]["metric"].upper(), min(row["batch_size"] for row in report["speed"]["rows"])
    header = ["", "draft tokens", metric, f"RTFx, batch {batch}", "latency p50", "speedup", "tokens per round"]
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---", *["---:"] * 6], *_rows(report, batch))]
    return "\n".join([*lines, "", _measured(release)])


def _rows(report: Report, batch: int) -> list[list[str]]:
    quality, timed = report["quality"], [row for row in report["speed"]["rows"] if row["batch_size"] == batch]
    main, pair, alone = (
        percent(quality["main"]["rate"]),
        percent(quality["pair"]["rate"]),
        percent(quality["assistant"]["rate"]),
    )

    def find(engine: str, mode: str, drafts: int | str | None = None) -> SpeedRow | None:
        of = (row for row in timed if (row["engine"], row["mode"], row["draft_tokens"]) == (engine, mode, drafts))
        return next((row for row in of if row["assistant"] in (None, "ours")), None)

    rows = []
    if "start" in quality:
        rows.append(["main before fine-tuning", "", percent(quality["start"]["rate"]), "", "", "", ""])
    rows.append(["main alone", "", main, *_speed(find("pair", "greedy")), ""])
    rows.append(["**pair**", "auto", pair, *_speed(find("pair", "speculative", "auto")), ""])
    for acceptance in _shown(report["acceptance"]["by_draft_tokens"]):
        count = acceptance["draft_tokens"]
        length = f"{acceptance['mean_accepted_length']:.2f}"
        rows.append(["pair", str(count), pair, *_speed(find("pair", "speculative", count)), length])
    rows.append(["assistant alone", "", alone, *_speed(find("pair", "assistant")), ""])
    stock = next((row for row in timed if (row["engine"], row["mode"]) == ("transformers", "assisted")), None)
    rows.append(["main alone, transformers", "", main, *_speed(find("transformers", "greedy")), ""])
    if stock is not None:
        rows.append(["pair, transformers", str(stock["draft_tokens"] or "its own"), pair, *_speed(stock), ""])
    return rows


def _shown(rows: Sequence[AcceptanceRow]) -> list[AcceptanceRow]:
    return [row for row in rows if row["draft_tokens"] <= SHOWN]


def _speed(row: SpeedRow | None) -> list[str]:
    """RTFx, latency and speedup; empty where it was not timed."""
    if row is None:
        return ["", "", ""]
    greedy = (row["engine"], row["mode"]) == ("pair", "greedy")
    gain = "1" if greedy else f"{row['speedup']:.2f}x{brackets(row['speedup_interval'], 1, 2)}"
    return [f"{row['rtfx']:.1f}", f"{row['latency_p50']:.3f} s", gain]


def _measured(release: Release) -> str:
    report, config = release.report, release.config
    speed, identity, environment = report["speed"], report["identity"], report["environment"]
    section = report["acceptance"]
    return (
        f"{report['quality']['metric'].upper()} on {report['data']['clips']} test clips after"
        f" {normalization_name(config.text_language)}. Speed from log-mel features to tokens, medians of"
        f" {speed['repeats']} interleaved passes over {speed['clips']} clips ({speed['audio_seconds']:.0f} s) in"
        f" {markdown(environment['dtype'])} on {markdown(machine(environment['hardware']))}, torch"
        f" {markdown(environment['versions']['torch'])}; speedups are over the main alone in the same engine, with 95 %"
        " intervals. RTFx is seconds of audio per second of work; tokens per round count the main's own. The assistant"
        f" predicts {percent(section['agreement'])} of the main's tokens. Output identical to the main's in"
        f" {identity['identical']} of {identity['utterances']} clips. {_other_batches(report)}{_verdict(report)}"
    )


def _other_batches(report: Report) -> str:
    rows = [row for row in report["speed"]["rows"] if is_pair(row)]
    first = min(row["batch_size"] for row in rows) if rows else 0
    parts = [f"{row['speedup']:.2f}x at batch {row['batch_size']}" for row in rows if row["batch_size"] != first]
    return f"The pair's speedup is {', '.join(parts)}. " if parts else ""


def _verdict(report: Report) -> str:
    failed = [criterion_name(c["name"]) for c in report["verdict"]["criteria"] if not c["passed"]]
    batches = [c["name"].partition("speedup_batch_") for c in report["verdict"]["criteria"] if c["kept"]]
    kept = [batch for kind, _, batch in batches if not kind]
    verdict = f"It did not meet: {'; '.join(failed)}." if failed else "By these figures the pair is worth using."
    return verdict + (f" At batch {', '.join(kept)} it drafts nothing, at no cost." if kept else "")


def example(report: Report) -> str:
    """The clip of the report's timeline: what was spoken, and what each wrote."""
    shown = report["timeline"]["clip"]
    row = next(row for row in report["utterances"] if row["clip"] == shown)
    texts = {
        "reference": row["reference"],
        "main and pair": row["main"]["text"],
        "assistant alone": row["assistant"]["text"],
    }
    lines = [f"- {name}: {markdown(text)}" for name, text in texts.items()]
    return "\n".join([f"## Example\n\nA test clip of {row['seconds']:.1f} s:\n", *lines])
