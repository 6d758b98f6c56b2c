"""What a round costs here, what that predicts, and memory."""

from whisper_pair.report import BatchPrediction, MemorySection, PredictionSection, percent

from .section import Section, Table


def cost(section: PredictionSection) -> Section:
    """The cost model at each batch size, and what would change its prediction."""
    text = (
        "c: the assistant's time for one token, over the main's. v: the main's time to verify a draft, over its time "
        "for one token. Decoding is then tokens per round / (draft tokens x c + v) times as fast; the encoder, which "
        "no draft makes faster, takes its share of the whole."
    )
    header = ["batch", "c", "v for 1, 4, 8, 16 draft tokens", "encoder's share, main alone", "best draft tokens"]
    header.append("predicted / measured")
    changes = [
        [case["case"], str(case["draft_tokens"]), f"{case['decoding']:.2f}x", f"{case['end_to_end']:.2f}x"]
        for case in section["what_if"]
    ]
    tables = (
        Table(header, [_row(batch) for batch in section["by_batch_size"]]),
        Table(["if there were", "best draft tokens", "speedup of decoding", "end to end"], changes),
    )
    return Section("Cost model", text, tables, ("draft_length",))


def _row(batch: BatchPrediction) -> list[str]:
    measured = [
        f"{p['draft_tokens']}: {p['end_to_end']:.2f}x / {p['measured']:.2f}x"
        for p in batch["predictions"]
        if p["measured"] is not None
    ]
    best = f"{batch['best_draft_tokens']} ({batch['best_end_to_end']:.2f}x)"
    v = batch["verification"]
    return [
        str(batch["batch_size"]),
        f"{batch['cost_ratio']:.3f}",
        ", ".join(f"{v[count]:.2f}" for count in ("1", "4", "8", "16")),
        percent(batch["encoder_share"]),
        best if batch["best_draft_tokens"] else "no drafting",
        "; ".join(measured),
    ]


def memory(section: MemorySection) -> Section:
    """Weights, and on a GPU the peak."""
    text = (
        f"The assistant adds {section['assistant_megabytes']:.1f} MB of weights to the main's "
        f"{section['main_megabytes']:.1f} MB ({percent(section['assistant_share'])})."
    )
    main, pair = section["main_peak_megabytes"], section["pair_peak_megabytes"]
    if main is not None and pair is not None:
        text += (
            f" Peak at batch {section['batch_size']}: {main:.0f} MB for the main alone, {pair:.0f} MB for the pair "
            f"({percent(pair / main - 1)} more)."
        )
        if "short_windows_peak_megabytes" in section:
            text = f"{text[:-1]}, {section['short_windows_peak_megabytes']:.0f} MB in windows as long as the clips."
    else:
        text += " Peak memory and energy are measured on NVIDIA GPUs alone."
    return Section("Memory", text)
