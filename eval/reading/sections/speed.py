"""End-to-end speed of every contender, and beside published figures."""

from whisper_pair.report import (
    Environment,
    Report,
    SpeedRow,
    SpeedSection,
    brackets,
    contender_name,
    gain_text,
    percent,
)

from .section import Section, Table


def speed(section: SpeedSection, environment: Environment) -> Section:
    """A row per contender and batch size, and where the time goes."""
    text = (
        f"From log-mel features to tokens, encoder included: {section['clips']} clips, "
        f"{section['audio_seconds']:.0f} s in all, which arrive a batch at a time; medians of "
        f"{section['repeats']} interleaved passes in {environment['dtype']}, in brackets their quartiles. Outside "
        f"the clock: {section['mel_seconds']:.2f} s to make the features, {1000 * section['text_seconds']:.1f} ms to "
        "write text. RTFx is seconds of audio per second of work."
    )
    text += "".join(f" Left out: {reason}" for reason in section["left_out"])
    header = ["batch", "decoding", "speedup over the main alone", "RTFx", "pass, s", "latency p50 / p95, s"]
    header += ["speedup over transformers", "main's text"]
    rows = [_row(row, section["clips"]) for row in section["rows"]]
    if any(row["joules"] is not None for row in section["rows"]):
        header.append("energy, J")
        rows = [[*line, f"{row['joules'] or 0:.0f}"] for line, row in zip(rows, section["rows"], strict=True)]
    parts = _parts(section)
    return Section("Speed", text, (Table(header, rows), *([parts] if parts.rows else [])), ("speed", "parts"))


def _row(row: SpeedRow, clips: int) -> list[str]:
    return [
        str(row["batch_size"]),
        contender_name(row),
        gain_text(row),
        f"{row['rtfx']:.1f}",
        f"{row['seconds']:.2f}{brackets(row['spread'], 1, 2)}",
        f"{row['latency_p50']:.3f} / {row['latency_p95']:.3f}",
        f"{row['speedup_vs_transformers']:.2f}x",
        _same_text(row, clips),
    ]


def _parts(section: SpeedSection) -> Table:
    header = ["batch", "decoding", "encoder, s", "draft, s", "verification, s", "rest, s"]
    rows = []
    for row in section["rows"]:
        if row["parts"] is not None:
            p = row["parts"]
            seconds = [p["encoder"], p["draft"], p["verification"], p["rest"]]
            rows.append([str(row["batch_size"]), contender_name(row), *(f"{part:.2f}" for part in seconds)])
    return Table(header, rows)


def _same_text(row: SpeedRow, clips: int) -> str:
    """In how many clips a contender's text is the main's; differences that no near tie explains are named."""
    if row["identical"] is None:
        return ""
    text = f"{row['identical']} of {clips}"
    return text + (f", {row['unexplained']} differ beyond a near tie" if row["unexplained"] else "")


def published(report: Report) -> Section | None:
    """Our transformers figures beside published ones: the same software, another machine and version."""
    theirs, rows = report["published"], report["speed"]["rows"]
    if theirs is None:
        return None
    rate = report["quality"]["pair"]["rate"]

    def seconds(engine: str, mode: str, drafts: str | None = None) -> float:
        found = [r for r in rows if (r["engine"], r["mode"], r["batch_size"]) == (engine, mode, 1)]
        return next(r["seconds"] for r in found if drafts is None or r["draft_tokens"] == drafts)

    lines = [("published", theirs["greedy_seconds"], theirs["assisted_seconds"], theirs["error_rate"])]
    if any(row["batch_size"] == 1 for row in rows):
        lines.append(
            ("here, transformers", seconds("transformers", "greedy"), seconds("transformers", "assisted"), rate)
        )
        lines.append(("here, our engine", seconds("pair", "greedy"), seconds("pair", "speculative", "auto"), rate))
    cells = [[name, f"{a:.1f}", f"{b:.1f}", f"{a / b:.1f}x", percent(error)] for name, a, b, error in lines]
    header = ["", "main alone, s", "with assistant, s", "speedup", report["quality"]["metric"].upper()]
    text = f"Published: {theirs['source']}. Ours: {report['speed']['clips']} clips at batch 1, on the machine above."
    return Section("Beside the published figures", text, (Table(header, cells),))
