"""Reading what an evaluation wrote."""

import json
from pathlib import Path


def report_of(config) -> dict:
    return json.loads((Path(config.output) / "eval" / "report.json").read_text())


def criterion(report: dict, name: str) -> dict:
    return next(c for c in report["verdict"]["criteria"] if c["name"] == name)


def window_times(mode: str, kind: str, batch: int, **more) -> dict:
    """A row of timed windows: by default the pair drafts, over short windows twice as fast as over full ones."""
    gain = {"speedup": 1.2, "speedup_interval": [1.1, 1.3], "speedup_verdict": "faster"}
    over = {"over_full": 2.0, "over_full_interval": [1.9, 2.1], "over_full_verdict": "faster"}
    times = {
        "windows": kind,
        "mode": mode,
        "batch_size": batch,
        "milliseconds": 10.0,
        "milliseconds_spread": [9.0, 11.0],
    }
    times |= {"encoder_share": 0.4, "steady": True, "identical": 3, "rounds": 9, "drafted_rounds": 9}
    return times | gain | over | more


def short_windows(full: float = 0.4, short: float = 0.39, rows: tuple[dict, ...] = (), **more) -> dict:
    """The section of a main whose error rate is `full` in full windows and `short` in short ones. `more`: of the
    figures in short windows."""
    cost = {"batch_size": 1, "cost_ratio": 0.2, "assistant_speedup": 5.0, "draft_milliseconds": 1.0}
    cost |= {"main_milliseconds": 5.0, "verification": {"1": 1.1}}
    figures = {"seconds": 30.0, "loops": 0, "agreement": 0.7, "agreement_interval": None, "identical": 5}
    figures |= {"mean_accepted_length": 2.0, "mean_accepted_length_interval": None, "unexplained": 0}
    figures |= {"best_draft_tokens": 4, "predicted_speedup": 1.2, "cost": [cost], "cache_megabytes": 9.0}
    rates = {
        name: {"error_rate": {"rate": rate, "interval": None, "errors": 4, "length": 10}}
        for name, rate in (("full", full), ("short", short))
    }
    found = {"margin": 0.5, "clips": 5, "draft_tokens": 4, "timed_clips": 3, "repeats": 3}
    kinds = {"full": figures | rates["full"], "short": figures | rates["short"] | {"seconds": 5.0} | more}
    return found | kinds | {"rows": [*rows] or [window_times("speculative", "short", 1)]}
