"""The tables of what was measured on a CPU beside pairs: other engines (peers.py), written style (style.py), what the
share of timestamps does (timestamps.py), mains trained on short windows (short_training.py), and their speed
(short_windows.py)."""

import statistics
from collections.abc import Iterable
from typing import Any


def table(name: str, result: dict[str, Any]) -> str | None:
    """The Markdown of a result, by its file's name; None for a result of another benchmark."""
    made = {
        "peers-cpu": peers,
        "style-cpu": style,
        "timestamps-cpu": timestamps,
        "short_training-cpu": short_training,
        "short_windows-cpu": short_windows,
    }.get(name)
    return None if made is None else made(result)


def peers(result: dict[str, Any]) -> str:
    """Every engine and mode, on the same clips."""
    lines = ["| engine | mode | type | seconds | over our greedy | texts that are our main's |"]
    lines.append("| --- | --- | --- | ---: | ---: | ---: |")
    for row in result["rows"]:
        low, high = row["spread"]
        spread = "" if result["repeats"] == 1 else f" ({low:.1f}-{high:.1f})"
        figures = f"{row['seconds']:.1f}{spread} | {row['speedup']:.2f}x | {row['identical']}"
        lines.append(f"| {row['engine']} | {row['mode']} | {row['type']} | {figures} of {result['clips']} |")
    threads = result["machine"]["threads"]
    clock = {"wall": "wall-clock time", "cpu": "processor time, since others used the machine"}[result["clock"]]
    passes = "one pass" if result["repeats"] == 1 else f"medians and extremes of {result['repeats']} interleaved passes"
    note = (
        f"{result['clips']} clips, {result['audio_seconds']:.0f} s of speech, batch 1, {threads} "
        f"thread{'s' if threads > 1 else ''}; {passes}, from the spectrogram to the tokens, by {clock}. int8 is "
        "another model, of other text."
    )
    return "\n".join(lines) + f"\n\n{note} {_source(result)}\n"


def style(result: dict[str, Any]) -> str:
    """What a main writes after training on each form of the same texts."""
    lines = ["| trained on the texts | WER | capitals and punctuation kept |", "| --- | ---: | ---: |"]
    for row in result["rows"]:
        lines.append(f"| {row['variant']} | {_percent(row['wer'])} | {_percent(row['style_kept'])} |")
    clips = result["rows"][0]["clips"]
    note = (
        f"Judged on {clips} test clips. Kept: words that are right and are written as in the human text, of those that "
        "hold a capital or a punctuation mark there."
    )
    return "\n".join(lines) + f"\n\n{note} {_source(result)}\n"


def timestamps(result: dict[str, Any]) -> str:
    """What a main writes after training with timestamps in each share of its windows."""
    lines = [
        "| share with timestamps | WER without | WER with | error of a clip's end | within 0.2 s | segments a clip |"
        " WER of long recordings | texts that loop |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        figures = (
            _percent(row["error_rate"]),
            _percent(row["error_rate_with_timestamps"]),
            f"{row['boundary_error_ms']:.0f} ms",
            f"{100 * row['boundaries_within_200_ms']:.0f} %",
            f"{row['segments_a_clip']:.2f}",
            _percent(row["error_rate_long"]),
            f"{row['loops']}, {row['loops_with_timestamps']}, {row['loops_long']}",
        )
        share = "before fine-tuning" if row["share"] is None else f"{row['share']:g}"
        lines.append(f"| {share} | {' | '.join(figures)} |")
    data = result["data"]
    note = (
        f"{data['clips']} test clips, {data['boundaries']} ends of clips that were joined into windows, "
        f"{data['recordings']} recordings of up to two minutes, which share 0 decodes in chunks. Loops: clips without "
        "and with timestamps, and segments of the recordings; one may cost hundreds of errors."
    )
    return "\n".join(lines) + f"\n\n{note} {_source(result)}\n"


def short_training(result: dict[str, Any]) -> str:
    """What each way of training makes of full and of short windows; means over the seeds."""
    windows = list(result["rows"][0]["windows"])
    lines = [
        "| trained | seeds | CPU-minutes | " + " | ".join(f"WER, {kind}" for kind in windows) + " | loops | lost ends |"
    ]
    lines.append("| --- | ---: | ---: |" + " ---: |" * (len(windows) + 2))
    for name in dict.fromkeys(row["variant"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["variant"] == name]
        rates = [_mean(row["windows"][kind]["wer"] for row in rows) for kind in windows]
        short = [row["windows"][kind] for row in rows for kind in windows[1:]]
        loops, ends = (_mean(each[what] for each in short) for what in ("loops", "missing_ends"))
        minutes = _mean(row["cpu_seconds"] for row in rows) / 60
        cells = [f"{minutes:.0f}" if minutes else "", *map(_percent, rates), f"{loops:.1f}", f"{ends:.1f}"]
        lines.append(f"| {name} | {len(rows)} | {' | '.join(cells)} |")
    note = "Loops and lost ends: clips in a pass over the test set in short windows, on average."
    return "\n".join(lines) + f"\n\n{note} {_source(result)}\n"


def short_windows(result: dict[str, Any]) -> str:
    """The main alone and the pair, over full and over short windows of the same clips."""
    lines = [
        "| batch | decoding | windows | seconds | over full windows | over the main alone | encoder | caches |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["rows"]:
        share = min(1.0, row["encoder_seconds"] / row["seconds"])
        ratios = (_ratio(row["speedup_over_full"]), _ratio(row["speedup_over_greedy"]))
        who = "main alone" if row["mode"] == "greedy" else "pair"
        cells = (f"{row['seconds']:.1f}", *ratios, f"{100 * share:.0f} %", f"{row['cache_bytes'] / 1e6:.0f} MB")
        lines.append(f"| {row['batch_size']} | {who} | {row['windows']} | {' | '.join(cells)} |")
    note = "Medians of interleaved passes, features to tokens; in brackets the extremes of single passes."
    return "\n".join(lines) + f"\n\n{note} {_source(result)}\n"


def _ratio(of: dict[str, Any]) -> str:
    low, high = of["spread"]
    return f"{of['ratio']:.2f}x ({low:.2f}-{high:.2f})"


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _source(result: dict[str, Any]) -> str:
    return (
        f"`{result['command']}` on {result['machine']['cpu']}, torch {result['versions']['torch']}, {result['date']}."
    )
