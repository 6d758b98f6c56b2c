"""The figures of a report that go to a tracker, each a number by name."""

from whisper_pair.report import Report


def tracked_figures(report: Report) -> dict[str, float]:
    """Error rates, agreement, tau at the best draft length, measured speedups, short windows where the main was trained
    on them, and whether the verdict is passed."""
    quality, acceptance = report["quality"], report["acceptance"]
    metric = quality["metric"]
    best = next(row for row in acceptance["by_draft_tokens"] if row["draft_tokens"] == acceptance["best_draft_tokens"])
    rates = {f"{metric}_main": quality["main"]["rate"], f"{metric}_assistant": quality["assistant"]["rate"]}
    rates[f"{metric}_pair"] = quality["pair"]["rate"]
    speedups = {
        f"speedup_batch_{row['batch_size']}_draft_{row['draft_tokens']}": row["speedup"]
        for row in report["speed"]["rows"]
        if (row["engine"], row["mode"], row["assistant"]) == ("pair", "speculative", "ours")
    }
    return {
        **_short_windows(report),
        **rates,
        "agreement": acceptance["agreement"],
        "acceptance_rate": best["acceptance_rate"],
        "tau": best["mean_accepted_length"],
        "best_draft_tokens": best["draft_tokens"],
        "predicted_speedup": best["predicted_speedup"],
        **speedups,
        "identical_share": report["identity"]["identical"] / report["identity"]["utterances"],
        "verdict_passed": float(report["verdict"]["passed"]),
    }


def _short_windows(report: Report) -> dict[str, float]:
    if "short_windows" not in report:
        return {}
    section, metric = report["short_windows"], report["quality"]["metric"]
    found = {f"{metric}_main_short_windows": section["short"]["error_rate"]["rate"]}
    for row in section["rows"]:
        if (row["windows"], row["mode"]) == ("short", "speculative"):
            found[f"short_windows_over_full_batch_{row['batch_size']}"] = row["over_full"]
            found[f"short_windows_speedup_batch_{row['batch_size']}"] = row["speedup"]
    return found
