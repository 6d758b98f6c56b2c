"""report.json -> report.md: every figure in it is read from the report."""

from typing import Any


def markdown(report: dict[str, Any]) -> str:
    parts = [
        _heading(report),
        _verdict(report["verdict"]),
        _quality(report["quality"]),
        _acceptance(report),
        _speed(report["speed"], report["environment"]),
        _identity(report["identity"]),
    ]
    return "\n\n".join(parts) + "\n"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _heading(report: dict[str, Any]) -> str:
    pair, data, environment = report["pair"], report["data"], report["environment"]
    machine = environment["hardware"].get("gpus", [environment["hardware"].get("cpu", "unknown CPU")])[0]
    return (
        f"# {pair['main']} + {pair['assistant']}\n\n"
        f"Main: {pair['main_layers']} decoder layers, {pair['main_parameters_millions']:.1f} M parameters, from "
        f"{pair['start']}. Assistant: layers {pair['layers']}, {pair['assistant_own_parameters_millions']:.1f} M "
        f"parameters beside the main's.\n\n"
        f"Measured on {data['clips']} clips, {data['seconds'] / 60:.1f} minutes of {', '.join(data['sources'])} "
        f"(language {data['language']}, {data['task']}), in {environment['dtype']} with {environment['attention']} "
        f"attention on {machine}, torch {environment['versions']['torch']}, {environment['date']}."
    )


def _verdict(verdict: dict[str, Any]) -> str:
    rows = [
        [c["name"].replace("_", " "), f"{c['figure']:.3g}", f"{c['target']:g}", "yes" if c["passed"] else "no"]
        for c in verdict["criteria"]
    ]
    outcome = "passed" if verdict["passed"] else "not passed"
    return f"## Verdict: {outcome}\n\n" + table(["criterion", "figure", "at least", "met"], rows)


def _quality(quality: dict[str, Any]) -> str:
    names = [name for name in quality if name != "metric"]
    words = {
        "start": "the checkpoint before fine-tuning",
        "pair": "pair (main + assistant)",
        "assistant": "assistant alone",
    }
    rows = [
        [words.get(name, name), f"{100 * quality[name]['rate']:.1f} %", str(quality[name]["errors"])] for name in names
    ]
    unit = "words" if quality["metric"] == "wer" else "characters"
    length = quality["main"]["length"]
    title = f"## Quality\n\n{quality['metric'].upper()} over {length} {unit} of reference.\n\n"
    return title + table(["", quality["metric"].upper(), "errors"], rows)


def _acceptance(report: dict[str, Any]) -> str:
    section = report["acceptance"]
    rows = [
        [
            str(row["draft_tokens"]),
            f"{row['acceptance_rate']:.3f}",
            f"{row['mean_accepted_length']:.2f}",
            " ".join(f"{share:.2f}" for share in row["position_joint"][:8]),
            f"{row['predicted_speedup']:.2f}x",
        ]
        for row in section["by_draft_tokens"]
    ]
    cost = report["cost"]["ours"]
    lines = [
        "## Acceptance\n",
        f"The assistant agrees with {100 * section['agreement']:.1f} % of the main's {section['tokens']} tokens. One "
        f"of its tokens costs {cost['cost_ratio']:.3f} of the main's time for one: it is "
        f"{cost['assistant_speedup']:.1f}x faster.\n",
        table(
            ["drafts", "accepted", "tokens a round", "all of the first 1, 2, ... accepted", "predicted speedup"], rows
        ),
    ]
    for name, other in report["compared"].items():
        lines.append(f"\nIn comparison, {name} agrees with {100 * other['agreement']:.1f} %.")
    return "\n".join(lines)


def _speed(speed: dict[str, Any], environment: dict[str, Any]) -> str:
    rows = [
        [
            str(row["batch_size"]),
            f"{row['engine']} {row['mode']}"
            + (f" ({row['assistant']})" if row["assistant"] not in (None, "ours") else ""),
            f"{row['seconds']:.2f}",
            f"{row['spread'][0]:.2f} to {row['spread'][1]:.2f}",
            f"{row['rtfx']:.1f}",
            _gain(row),
            f"{row['speedup_vs_transformers']:.2f}x",
        ]
        for row in speed["rows"]
    ]
    header = ["batch", "decoding", "seconds", "spread", "RTFx", "over our greedy", "over transformers' greedy"]
    return (
        f"## Speed\n\nLog-mel features to tokens, encoder included, {speed['clips']} clips, "
        f"{speed['audio_seconds']:.0f} s together; medians of {speed['repeats']} interleaved passes in "
        f"{environment['dtype']}.\n\n" + table(header, rows)
    )


def _gain(row: dict[str, Any]) -> str:
    low, high = row["speedup_interval"]
    told = f"{row['speedup']:.2f}x ({low:.2f} to {high:.2f})"
    return told if low > 1 or high < 1 or low == high else told + ", not a clear gain"


def _identity(identity: dict[str, Any]) -> str:
    same, total = identity["identical"], identity["utterances"]
    text = f"## Identity\n\n{same} of {total} utterances are the main's, token for token."
    if identity["utterances"] > identity["identical"]:
        text += f" {identity['near_ties']} differ by a near tie, {identity['unexplained']} without one."
    if "batch_1_against_8" in identity:
        text += f" Plain greedy alone differs in {identity['batch_1_against_8']} between batch 1 and 8."
    return text
