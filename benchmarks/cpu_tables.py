"""The tables of what was measured on a CPU beside pairs: other engines (peers.py), written style (style.py), what the
share of timestamps does (timestamps.py), mains trained on short windows (short_training.py), longer ones than these
met (joined_windows.py), and their speed (short_windows.py)."""

from statistics import fmean
from typing import Any

from benchmarks.gpu_tables import lines
from whisper_pair.decoding import FRAMES_PER_SECOND


def table(name: str, result: dict[str, Any]) -> str | None:
    """The Markdown of a result, by its file's name; None for a result of another benchmark."""
    made = {
        "peers-cpu": peers,
        "style-cpu": style,
        "timestamps-cpu": timestamps,
        "short_training-cpu": short_training,
        "joined_windows-cpu": joined_windows,
        "short_windows-cpu": short_windows,
    }.get(name)
    return None if made is None else made(result)


def peers(result: dict[str, Any]) -> str:
    """Every engine and mode, on the same clips."""
    rows = []
    for row in result["rows"]:
        low, high = row["spread"]
        spread = "" if result["repeats"] == 1 else f" ({low:.1f}-{high:.1f})"
        figures = [
            f"{row['seconds']:.1f}{spread}",
            f"{row['speedup']:.2f}x",
            f"{row['identical']} of {result['clips']}",
        ]
        rows.append([row["engine"], row["mode"], row["type"], *figures])
    threads = result["machine"]["threads"]
    clock = {"wall": "wall-clock time", "cpu": "processor time, since others used the machine"}[result["clock"]]
    passes = "one pass" if result["repeats"] == 1 else f"medians and extremes of {result['repeats']} interleaved passes"
    note = (
        f"{result['clips']} clips, {result['audio_seconds']:.0f} s of speech, batch 1, {threads} "
        f"thread{'s' if threads > 1 else ''}; {passes}, from the spectrogram to the tokens, by {clock}. int8 is "
        "another model, of other text."
    )
    header = ["engine", "mode", "type", "seconds", "over our greedy", "texts that are our main's"]
    return lines(header, rows, names=3) + _source(note, result)


def style(result: dict[str, Any]) -> str:
    """What a main writes after training on each form of the same texts."""
    rows = [[row["variant"], _percent(row["wer"]), _percent(row["style_kept"])] for row in result["rows"]]
    note = (
        f"Judged on {result['rows'][0]['clips']} test clips. Kept: words that are right and are written as in the "
        "human text, of those that hold a capital or a punctuation mark there."
    )
    return lines(["trained on the texts", "WER", "capitals and punctuation kept"], rows) + _source(note, result)


def timestamps(result: dict[str, Any]) -> str:
    """What a main writes after training with timestamps in each share of its windows."""
    header = ["share with timestamps", "WER without", "WER with", "error of a clip's end", "within 0.2 s"]
    header += ["segments a clip", "WER of long recordings", "texts that loop"]
    rows = [
        [
            "before fine-tuning" if row["share"] is None else f"{row['share']:g}",
            _percent(row["error_rate"]),
            _percent(row["error_rate_with_timestamps"]),
            f"{row['boundary_error_ms']:.0f} ms",
            f"{100 * row['boundaries_within_200_ms']:.0f} %",
            f"{row['segments_a_clip']:.2f}",
            _percent(row["error_rate_long"]),
            f"{row['loops']}, {row['loops_with_timestamps']}, {row['loops_long']}",
        ]
        for row in result["rows"]
    ]
    data = result["data"]
    note = (
        f"{data['clips']} test clips, {data['boundaries']} ends of clips that were joined into windows, "
        f"{data['recordings']} recordings of up to two minutes, which share 0 decodes in chunks. Loops: clips without "
        "and with timestamps, and segments of the recordings; one may cost hundreds of errors."
    )
    return lines(header, rows) + _source(note, result)


def short_training(result: dict[str, Any]) -> str:
    """What each way of training makes of full and of short windows; means over the seeds."""
    windows = list(result["rows"][0]["windows"])
    header = [
        "trained",
        "seeds",
        "CPU-minutes",
        *(f"WER, {kind}" for kind in windows),
        "loops",
        "lost ends",
        "WER, long recordings",
    ]
    found = []
    for name in dict.fromkeys(row["variant"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["variant"] == name]
        rates = [fmean(row["windows"][kind]["wer"] for row in rows) for kind in windows]
        short = [row["windows"][kind] for row in rows for kind in windows[1:]]
        loops, ends = (fmean(each[what] for each in short) for what in ("loops", "missing_ends"))
        minutes = fmean(row["cpu_seconds"] for row in rows) / 60
        figures = [f"{minutes:.0f}" if minutes else "", *map(_percent, rates), f"{loops:.1f}", f"{ends:.1f}"]
        long = [row["long_wer"] for row in rows if row.get("long_wer") is not None]
        figures.append(_percent(fmean(long)) if long else "")
        found.append([name, str(len(rows)), *figures])
    note = "Loops and lost ends: clips in a pass over the test set in short windows, on average."
    return lines(header, found) + _source(note, result)


def joined_windows(result: dict[str, Any]) -> str:
    """Error rates over joined clips, in full windows and in short ones."""
    header = ["joined up to", "windows", "mean short window", "WER, full", "WER, short", "loops, full", "loops, short"]
    found, rows = [], result["rows"]
    for full, short in zip(rows[::2], rows[1::2], strict=True):
        figures = [f"{short['frames'] / FRAMES_PER_SECOND:.1f} s", _percent(full["wer"]), _percent(short["wer"])]
        loops = [str(full["loops"]), str(short["loops"])]
        found.append([f"{full['joined_up_to']:g} s", str(full["windows"]), *figures, *loops])
    longest = result["longest_clip_seconds"]
    return lines(header, found) + _source(f"The longest clip of the test set has {longest:.1f} s.", result)


def short_windows(result: dict[str, Any]) -> str:
    """The main alone and the pair, over full and over short windows of the same clips."""
    header = [
        "batch",
        "decoding",
        "windows",
        "seconds",
        "over full windows",
        "over the main alone",
        "encoder",
        "caches",
    ]
    rows = [
        [
            str(row["batch_size"]),
            "main alone" if row["mode"] == "greedy" else "pair",
            row["windows"],
            f"{row['seconds']:.1f}",
            _ratio(row["speedup_over_full"]),
            _ratio(row["speedup_over_greedy"]),
            f"{100 * min(1.0, row['encoder_seconds'] / row['seconds']):.0f} %",
            f"{row['cache_bytes'] / 1e6:.0f} MB",
        ]
        for row in result["rows"]
    ]
    note = "Medians of interleaved passes, features to tokens; in brackets the extremes of single passes."
    return lines(header, rows, names=3) + _source(note, result)


def _ratio(of: dict[str, Any]) -> str:
    low, high = of["spread"]
    return f"{of['ratio']:.2f}x ({low:.2f}-{high:.2f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _source(note: str, result: dict[str, Any]) -> str:
    """What stands below a table."""
    made = f"on {result['machine']['cpu']}, torch {result['versions']['torch']}, {result['date']}."
    return f"\n\n{note} `{result['command']}` {made}\n"
