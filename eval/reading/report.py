"""report.json -> report.md: every figure in it is read from the report."""

from pathlib import Path
from typing import Any

from whisper_pair import escaping

NAMES = {
    "start": "the checkpoint before fine-tuning",
    "pair": "pair (main + assistant)",
    "assistant": "assistant alone",
    "apart": "main, each clip by itself",
}
CRITERIA = {
    "assistant_speedup": "how many times faster than the main the assistant says a token",
    "agreement": "share of the main's tokens that the assistant would say too",
    "batch_sizes_faster": "timed batch sizes at which the pair is faster than the main alone",
    "identical_output": "share of the test clips whose tokens are the main's",
    "baseline_unexplained": "transformers' transcripts that differ from the main's by more than a near tie",
    "leaked_clips": "test clips that were trained on",
    "counters_equal": "share of the transcripts whose counted rounds follow from the offline account",
    "long_form_identical": "share of the long recordings whose segments are the main's",
    "timed_output_identical": "share of the timed transcripts that are the main's",
}
WAYS = {
    ("pair", "greedy"): "main alone, our engine",
    ("pair", "speculative"): "pair, our engine",
    ("pair", "assistant"): "assistant alone, our engine",
    ("transformers", "greedy"): "main alone, transformers",
    ("transformers", "assisted"): "pair, transformers",
    ("faster-whisper", "greedy"): "main alone, faster-whisper",
}
MODES = {
    "sequential": "by Whisper's sequential algorithm, with timestamps",
    "chunked": "in chunks cut at quiet places, since the main has no timestamps or was fine-tuned without them",
}


def markdown(report: dict[str, Any]) -> str:
    parts = [heading(report)]
    for title, text, tables in sections(report):
        parts.append(f"## {escaping.markdown(title)}")
        parts += [paragraphs(text)] if text else []
        parts += [table(*given) for given in tables]
    return "\n\n".join(parts) + "\n"


def sections(report: dict[str, Any]) -> list[tuple[str, str, list[tuple[list[str], list[list[str]]]]]]:
    """(title, a sentence or two, tables) of each part, for Markdown and the page alike."""
    found = [
        verdict(report["verdict"]),
        quality(report["quality"]),
        long_form(report["quality"]),
        acceptance(report),
        where(report["acceptance"]),
        refused(report["acceptance"]),
        speed(report["speed"], report["environment"]),
        cost(report),
        identity(report),
        memory(report["memory"]),
        clean(report["data"]),
    ]
    return found + ([published(report)] if report["published"] else [])


def table(header: list[str], rows: list[list[str]]) -> str:
    header, *rows = [[escaping.markdown(cell) for cell in line] for line in (header, *rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))


def paragraphs(text: str) -> str:
    return "\n\n".join(map(escaping.markdown, text.split("\n\n")))


def heading(report: dict[str, Any]) -> str:
    return f"# {escaping.markdown(title(report))}\n\n{paragraphs(about(report))}"


def title(report: dict[str, Any]) -> str:
    return f"{report['pair']['main']} + {report['pair']['assistant']}"


def about(report: dict[str, Any]) -> str:
    pair, data, environment = report["pair"], report["data"], report["environment"]
    machine = environment["hardware"].get("gpus", [environment["hardware"].get("cpu", "unknown CPU")])[0]
    layers = "" if pair["layers"] is None else f"layers {', '.join(map(str, pair['layers']))} of it, "
    some = "" if data["clips"] == data["available"] else f" of {data['available']}"
    return (
        f"Main: {pair['main_layers']} decoder layers, {pair['main_parameters_millions']:.1f} M parameters, from "
        f"{pair['start']}. Assistant: {layers}{pair['assistant_own_parameters_millions']:.1f} M parameters beside the "
        f"main's.\n\nMeasured on {data['clips']}{some} clips, {data['seconds'] / 60:.1f} minutes of "
        f"{', '.join(data['sources'])} (language {data['language']}, {data['task']}), in {environment['dtype']} with "
        f"{environment['attention']} attention on {machine}, torch {environment['versions']['torch']}, "
        f"{environment['date']}. Intervals in brackets hold 95 % of the bootstrap's draws."
    )


def verdict(section: dict[str, Any]):
    """The criteria, and the article's marks in a table of their own."""
    outcome = "passed" if section["passed"] else "not passed"
    text = (
        "Does the pair earn its place on this machine? A speedup counts where its interval lies above 1 and it was "
        "timed often enough to tell. The marks of the article, in the second table, decide nothing."
    )
    if any(c["kept"] for c in section["criteria"]):
        text += " Kept: at that batch size the engine leaves drafting off, which costs nothing that could be measured."
    header = ["figure", "asked", "met"]
    tables = [
        (["criterion", *header], [criterion_row(c) for c in section["criteria"]]),
        (["the article's mark", *header], [criterion_row(c) for c in section["article"]]),
    ]
    return f"Verdict: {outcome}", text, tables


def criterion_row(c: dict[str, Any]) -> list[str]:
    asked = f"{'at least' if c['higher_is_better'] else 'at most'} {c['target']:g}"
    return [criterion(c["name"]), f"{c['figure']:.3g}", asked, "kept" if c["kept"] else "yes" if c["passed"] else "no"]


def criterion(name: str) -> str:
    batch = name.removeprefix("speedup_batch_")
    return CRITERIA[name] if batch == name else f"speedup over the main alone, batch {batch}"


def quality(section: dict[str, Any]):
    names = [name for name in section if name not in ("metric", "texts_equal", "long_form")]
    text = f"{over_reference(section)} The pair's text is the main's in {section['texts_equal']} utterances."
    return "Quality", text, [error_rates(section["metric"], {name: section[name] for name in names})]


def over_reference(section: dict[str, Any], metric: str | None = None) -> str:
    metric = metric or section["metric"]
    unit = "words" if metric == "wer" else "characters"
    return f"{metric.upper()} over {section['main']['length']} {unit} of reference."


def error_rates(metric: str, rates: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for name, rate in rates.items():
        over = rate.get("over_main_interval")
        rows.append(
            [
                NAMES.get(name, name),
                f"{percent(rate['rate'])}{brackets(rate['interval'], 100)}",
                str(rate["errors"]),
                "" if over is None else f"{100 * over[0]:+.1f} to {100 * over[1]:+.1f}",
            ]
        )
    return ["", metric.upper(), "errors", "points over the main"], rows


def long_form(quality: dict[str, Any]):
    """Recordings of several windows."""
    section, metric = quality["long_form"], quality["metric"]
    if section["skipped"] is not None:
        return "Long recordings", f"Not measured: {section['skipped']}", []
    whose = "of one speaker each" if section["speakers_told"] else "in the set's order, for no speakers are told"
    unclear = ", no clear difference" if section["speedup_verdict"] == "unclear" else ""
    count = "1 recording" if section["recordings"] == 1 else f"{section['recordings']} recordings"
    text = (
        f"{count}, {section['seconds'] / 60:.1f} minutes, joined from {section['clips']} test clips {whose}, heard "
        f"{MODES[section['mode']]}; greedy, without temperature fallback or previous text, batch "
        f"{section['batch_size']}. {over_reference(section, metric)} Intervals are over recordings.\n\n"
        f"The pair's segments, times included, are the main's in {section['identical']} of {section['recordings']}. "
        f"Drafting {section['draft_tokens']} tokens a round, it won {1 + section['accepted'] / section['rounds']:.2f} "
        f"tokens a round ({section['accepted']} of {section['drafted']} drafts accepted). Audio to text took the main "
        f"{section['main_seconds']:.1f} s and the pair {section['pair_seconds']:.1f} s: {section['speedup']:.2f}x"
        f"{brackets(section['speedup_interval'], 1, 2)}{unclear}, from one timed pass in turns."
    )
    rates = {name: section[name] for name in ("main", "pair", "apart") if name in section}
    return "Long recordings", text, [error_rates(metric, rates)]


def acceptance(report: dict[str, Any]):
    section, cost_ = report["acceptance"], report["cost"]["ours"]
    rows = [
        [
            str(row["draft_tokens"]),
            f"{row['acceptance_rate']:.3f}{brackets(row['acceptance_rate_interval'], 1, 3)}",
            f"{row['mean_accepted_length']:.2f}{brackets(row['mean_accepted_length_interval'], 1, 2)}",
            " ".join(f"{share:.2f}" for share in row["position_joint"][:8]),
            f"{row['predicted_speedup']:.2f}x",
        ]
        for row in section["by_draft_tokens"]
    ]
    text = (
        f"The assistant agrees with {percent(section['agreement'])}"
        f"{brackets(section['agreement_interval'], 100)} of the main's {section['tokens']} tokens. One of its tokens "
        f"costs {cost_['cost_ratio']:.3f} of the main's time for one: it is {cost_['assistant_speedup']:.1f}x faster. "
        f"The engine's own counters follow from this account in {section['counters']['equal']} of "
        f"{section['counters']['utterances']} utterances."
    )
    for name, other in report["compared"].items():
        text += f" In comparison, {name} agrees with {percent(other['agreement'])}."
    header = [
        "drafts a round",
        "acceptance rate",
        "tokens won a round",
        "rounds with all of the first 1, 2, ... accepted",
    ]
    header.append("decoding speedup, predicted")
    return "Acceptance", text, [(header, rows)]


def where(section: dict[str, Any]):
    def rows(groups: list[dict]) -> list[list[str]]:
        return [
            [g["name"], str(g["tokens"]), f"{percent(g['agreement'])}{brackets(g['agreement_interval'], 100)}"]
            for g in groups
        ]

    tables = [
        (["kind of token", "tokens", "agreement"], rows(section["by_token_class"])),
        (["position in the utterance", "tokens", "agreement"], rows(section["by_position"])),
        (["tokens in the utterance", "tokens", "agreement"], rows(section["by_length"])),
    ]
    return "Where it is won and lost", "", tables


def refused(section: dict[str, Any]):
    rows = []
    for worst in section["least_accepted"]:
        example = worst["examples"][0]
        told = f"{quoted(example['before'])}: not {quoted(worst['text'])} but {quoted(example['assistant'])}"
        rows.append([quoted(worst["text"]), f"{worst['agreed']} of {worst['tokens']}", told])
    text = "The main's tokens that the assistant predicts least often, of those said at least three times."
    return "Least accepted tokens", text, [(["token", "predicted", "for example, after"], rows)]


def speed(section: dict[str, Any], environment: dict[str, Any]):
    rows = [
        [
            str(row["batch_size"]),
            contender(row),
            f"{row['seconds']:.2f}{brackets(row['spread'], 1, 2)}",
            f"{row['rtfx']:.1f}",
            f"{row['latency_p50']:.3f} / {row['latency_p95']:.3f}",
            gain(row),
            f"{row['speedup_vs_transformers']:.2f}x",
            same_text(row, section["clips"]),
        ]
        for row in section["rows"]
    ]
    header = ["batch", "decoding", "a pass, s", "RTFx", "a clip's wait p50 / p95, s", "over the main alone, our engine"]
    header += ["over the main alone, transformers", "main's own text"]
    if any(row["joules"] is not None for row in section["rows"]):
        header.append("energy of a pass, J")
        rows = [[*line, f"{row['joules']:.0f}"] for line, row in zip(rows, section["rows"], strict=True)]
    text = (
        f"Log-mel features to tokens, encoder included, {section['clips']} clips, {section['audio_seconds']:.0f} s "
        f"together, arriving a batch at a time; medians of {section['repeats']} interleaved passes in "
        f"{environment['dtype']}, in brackets the least and greatest pass. Outside the clock: "
        f"{section['mel_seconds']:.2f} s to make the features, {1000 * section['text_seconds']:.1f} ms to write text."
    )
    text += "".join(f" Left out: {reason}" for reason in section["left_out"])
    split = [
        [str(row["batch_size"]), contender(row), *(f"{row['parts'][p]:.2f}" for p in row["parts"])]
        for row in section["rows"]
        if row["parts"]
    ]
    parts = (["batch", "decoding", "encoder, s", "draft, s", "verification, s", "rest, s"], split)
    return "Speed", text, [(header, rows), parts]


def same_text(row: dict[str, Any], clips: int) -> str:
    """Of how many clips a contender says what the main says; differences that no near tie explains are named."""
    if row["identical"] is None:
        return ""
    told = f"{row['identical']} of {clips}"
    return told + (f", {row['unexplained']} differ beyond a near tie" if row["unexplained"] else "")


def contender(row: dict[str, Any]) -> str:
    words = WAYS[row["engine"], row["mode"]]
    if row["draft_tokens"] is not None:
        words += f", {row['draft_tokens']} drafts"
        words += f" ({row['schedule']})" if row["engine"] == "transformers" else ""
    return words + (f", {Path(row['assistant']).name}" if row["assistant"] not in (None, "ours") else "")


def gain(row: dict[str, Any]) -> str:
    """A gain is called one only where its interval lies above 1."""
    if (row["engine"], row["mode"]) == ("pair", "greedy"):
        return "1"
    low, high = row["speedup_interval"]
    told = f"{row['speedup']:.2f}x ({low:.2f} to {high:.2f})"
    if not row["steady"]:
        return told + ", still warming up"
    if row["speedup_verdict"] != "unclear":
        return told
    return told + (", no clear difference" if low <= 1 <= high else ", too few timings to tell")


def cost(report: dict[str, Any]):
    batches, cases = report["prediction"]["by_batch_size"], report["prediction"]["what_if"]
    rows = []
    for batch in batches:
        measured = [p for p in batch["predictions"] if p["measured"] is not None]
        told = "; ".join(f"{p['draft_tokens']}: {p['end_to_end']:.2f}x / {p['measured']:.2f}x" for p in measured)
        best = f"{batch['best_draft_tokens']} ({batch['best_end_to_end']:.2f}x)"
        if not batch["best_draft_tokens"]:
            best = "do not draft"
        v = batch["verification"]
        rows.append(
            [
                str(batch["batch_size"]),
                f"{batch['cost_ratio']:.3f}",
                ", ".join(f"{v[count]:.2f}" for count in ("1", "4", "8", "16")),
                percent(batch["encoder_share"]),
                best,
                told,
            ]
        )
    header = ["batch", "c", "v for 1, 4, 8, 16 drafts", "encoder's share of greedy", "best draft length"]
    header.append("drafts: predicted / measured")
    what_if = [
        [case["case"], str(case["draft_tokens"]), f"{case['decoding']:.2f}x", f"{case['end_to_end']:.2f}x"]
        for case in cases
    ]
    text = (
        "c is the assistant's time for one token and v the main's for a draft and one more, both over the main's for "
        "one; tau / (drafts c + v) predicts decoding, the encoder's share dilutes it end to end."
    )
    changes = (["if there were", "best draft length", "decoding", "end to end"], what_if)
    return "Cost model", text, [(header, rows), changes]


def identity(report: dict[str, Any]):
    section = report["identity"]
    same, total = section["identical"], section["utterances"]
    text = (
        f"{same} of {total} utterances are the main's, token for token, drafting "
        f"{report['acceptance']['counters']['draft_tokens']} tokens a round."
    )
    if total > same:
        text += f" {section['near_ties']} differ by a near tie, {section['unexplained']} without one."
    if section["batch_1_against_8"] is not None:
        text += f" Plain greedy alone differs in {section['batch_1_against_8']} between batch 1 and 8."
    rows = [
        [d["clip"], str(d["position"]), quoted(d["main"]), quoted(d["other"]), f"{d['gap']:.4f}", f"{d['noise']:.4f}"]
        for d in section["differences"]
    ]
    header = ["clip", "first differing token", "main", "pair", "gap of the two likeliest logits", "noise of a logit"]
    return "Identity", text, [(header, rows)] if rows else []


def memory(section: dict[str, Any]):
    text = (
        f"The assistant adds {section['assistant_megabytes']:.1f} MB of weights to the main's "
        f"{section['main_megabytes']:.1f} MB ({percent(section['assistant_share'])})."
    )
    if section["pair_peak_megabytes"] is not None:
        text += (
            f" Peak at batch {section['batch_size']}: {section['main_peak_megabytes']:.0f} MB for the main alone, "
            f"{section['pair_peak_megabytes']:.0f} MB for the pair "
            f"({percent(section['pair_peak_megabytes'] / section['main_peak_megabytes'] - 1)} more)."
        )
    else:
        text += " Peak memory and energy are measured on NVIDIA GPUs alone."
    return "Memory", text, []


def clean(data: dict[str, Any]):
    leaks = data["leaks"]
    if not leaks["compared"]:
        return "Test data", "No training data was at hand to compare the test clips with.", []
    text = (
        f"{len(leaks['clips'])} test clips hold sound that was trained on ({', '.join(leaks['compared'])}); "
        f"{leaks['texts']} of {data['clips']} sentences were trained on in another recording."
    )
    if leaks["not_compared"]:
        text += f" Not compared: {', '.join(leaks['not_compared'])}."
    return "Test data", text, [(["trained on"], [[name] for name in leaks["clips"]])] if leaks["clips"] else []


def published(report: dict[str, Any]):
    """Our transformers figures beside the published ones: the same software, another machine and version."""
    theirs, rows = report["published"], report["speed"]["rows"]
    rate = report["quality"]["pair"]["rate"]

    def seconds(engine: str, mode: str, drafts=None) -> float:
        found = [r for r in rows if (r["engine"], r["mode"], r["batch_size"]) == (engine, mode, 1)]
        return next(r["seconds"] for r in found if drafts is None or r["draft_tokens"] == drafts)

    lines = [("published", theirs["greedy_seconds"], theirs["assisted_seconds"], theirs["error_rate"])]
    if any(row["batch_size"] == 1 for row in rows):
        lines.append(
            ("here, transformers", seconds("transformers", "greedy"), seconds("transformers", "assisted"), rate)
        )
        lines.append(("here, our engine", seconds("pair", "greedy"), seconds("pair", "speculative", "auto"), rate))
    told = [[name, f"{a:.1f}", f"{b:.1f}", f"{a / b:.1f}x", percent(error)] for name, a, b, error in lines]
    header = ["", "main alone, s", "with assistant, s", "speedup", report["quality"]["metric"].upper()]
    text = f"Published: {theirs['source']}. Ours: {report['speed']['clips']} clips at batch 1, on the machine above."
    return "Beside the published figures", text, [(header, told)]


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def brackets(interval: list[float] | None, scale: float = 1, digits: int = 1) -> str:
    return "" if interval is None else f" ({scale * interval[0]:.{digits}f} to {scale * interval[1]:.{digits}f})"


def quoted(text: str) -> str:
    return "“" + text.replace("\n", "⏎") + "”"
