"""The tables of what was measured on a CPU beside pairs: other engines (peers.py) and written style (style.py)."""

from typing import Any


def table(name: str, result: dict[str, Any]) -> str | None:
    """The Markdown of a result, by its file's name; None for a result of another benchmark."""
    made = {"peers-cpu": peers, "style": style}.get(name)
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
        lines.append(f"| {row['variant']} | {100 * row['wer']:.1f} % | {100 * row['style_kept']:.1f} % |")
    clips = result["rows"][0]["clips"]
    note = (
        f"Judged on {clips} test clips. Kept: words that are right and are written as in the human text, of those that "
        "hold a capital or a punctuation mark there."
    )
    return "\n".join(lines) + f"\n\n{note} {_source(result)}\n"


def _source(result: dict[str, Any]) -> str:
    return (
        f"`{result['command']}` on {result['machine']['cpu']}, torch {result['versions']['torch']}, {result['date']}."
    )
