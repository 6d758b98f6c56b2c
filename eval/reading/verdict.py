"""Is the pair worth using on this machine?

Four things must hold. The output is the main's own. The measurement is valid: counters equal to the offline replay, a
baseline whose text is the main's, no test clip that was trained on. The assistant agrees with the main. And the
pair gains: at every timed batch size the interval of its speedup over the main alone is above 1, or the pair is kept
there at no cost, and at one batch size at least it does gain: in full windows, or in short ones where the main was
trained on them.

Kept at no cost: with `auto` the engine itself leaves drafting off where it would lose. It is off at a batch size where
at most 5 % of the rounds drafted at all; whatever was timed there is no gain, and it is kept if the speedup's interval
is not below 1.

What is required can be raised by `eval.require`. The article's targets ("Speculative Decoding for 2x Faster Whisper
Inference", 2023) are shown beside the verdict and do not decide it: an assistant at least 3x faster than the main, 70 %
of its tokens predicted, 2x at batch 1.
"""

from whisper_pair.config import Eval, Require
from whisper_pair.errors import InputError
from whisper_pair.report import (
    Criterion,
    DraftedSpeedup,
    IdentitySection,
    Report,
    ShortWindowsSection,
    VerdictSection,
    drafting_gains,
    drafts_nothing,
    is_pair,
    pair_in_short_windows,
)

from ..measuring import ENOUGH

ARTICLE = {"assistant_speedup": 3.0, "agreement": 0.7, "speedup_batch_1": 2.0}


def verdict_section(report: Report, require: Require) -> VerdictSection:
    """From the report's other sections alone."""
    identity, agreement = report["identity"], report["acceptance"]["agreement"]
    faster = report["cost"]["ours"]["assistant_speedup"]
    pair: list[DraftedSpeedup] = [row for row in report["speed"]["rows"] if is_pair(row)]
    short = pair_in_short_windows(report["short_windows"]) if "short_windows" in report else []
    criteria = [
        _identical(identity),
        *_measurement(report),
        _criterion("agreement", agreement, require.agreement),
        *(_gain(row, require.speedup) for row in pair),
        _criterion("batch_sizes_faster", len({row["batch_size"] for row in [*pair, *short] if drafting_gains(row)}), 1),
    ]
    if "short_windows" in report:
        criteria += _short_windows(report["short_windows"], require, report["environment"]["dtype"] == "fp32")
    if require.assistant_speedup is not None:
        criteria.append(_criterion("assistant_speedup", faster, require.assistant_speedup))
    figures = {"assistant_speedup": faster, "agreement": agreement}
    figures |= {f"speedup_batch_{row['batch_size']}": row["speedup"] for row in pair}
    marks = [_criterion(name, figures[name], mark) for name, mark in ARTICLE.items() if name in figures]
    return {"passed": all(criterion["passed"] for criterion in criteria), "criteria": criteria, "article": marks}


def check_enough_timings(settings: Eval, clips: int | None = None) -> None:
    """Raises InputError where a verdict is required (--strict) but too little is timed at some batch size.
    `clips`: how many there are, where that is known."""
    timed = min(count for count in (settings.timed_clips, settings.limit, clips) if count is not None)
    for batch_size in settings.batch_sizes:
        chunks = -(-timed // batch_size)
        if chunks * settings.repeats < ENOUGH:
            raise InputError(
                f"eval.repeats: expected at least {-(-ENOUGH // chunks)} for --strict, found {settings.repeats}: fewer"
                f" than {ENOUGH} timings are too few to judge speed, and {timed} clips at batch {batch_size} make"
                f" {chunks * settings.repeats}. Raise it or eval.timed_clips, or leave that batch size out."
            )


def _identical(identity: IdentitySection) -> Criterion:
    """Passed where near ties explain every difference."""
    criterion = _criterion("identical_output", _share(identity["identical"], identity["utterances"]), 1.0)
    criterion["passed"] = identity["unexplained"] == 0
    return criterion


def _gain(row: DraftedSpeedup, target: float, kind: str = "") -> Criterion:
    criterion = _criterion(f"{kind}speedup_batch_{row['batch_size']}", row["speedup"], target)
    if drafts_nothing(row):
        criterion["passed"] = criterion["kept"] = row["speedup_interval"][1] >= 1
    else:
        criterion["passed"] = criterion["passed"] and row["speedup_verdict"] == "faster"
    return criterion


def _short_windows(section: ShortWindowsSection, require: Require, exact: bool) -> list[Criterion]:
    """`exact`: in float32, where no near tie explains a difference."""
    rows = [row for row in section["rows"] if row["windows"] == "short"]
    full, short = section["full"], section["short"]
    loss = short["error_rate"]["rate"] - full["error_rate"]["rate"]
    same = _criterion("short_windows_identical", _share(short["identical"], section["clips"]), 1.0)
    same["passed"] = short["unexplained"] == 0
    errors = _criterion("short_windows_errors", loss, require.short_windows_errors, higher=False)
    if (interval := short["error_rate"].get("over_main_interval")) is not None and interval[0] <= 0:
        errors["passed"] = True  # no clear loss
    criteria = [errors, same]
    if exact:
        timed = _share(sum(row["identical"] for row in rows), section["timed_clips"] * len(rows))
        criteria.append(_criterion("short_windows_timed_identical", timed, 1.0))
    return criteria + [_gain(row, require.speedup, "short_windows_") for row in pair_in_short_windows(section)]


def _measurement(report: Report) -> list[Criterion]:
    """Criteria without which no other figure counts."""
    rows, speed = report["speed"]["rows"], report["speed"]
    stock = [row for row in rows if (row["engine"], row["mode"]) == ("transformers", "greedy")]
    timed = [row for row in rows if row["engine"] == "pair" and row["mode"] != "assistant"]
    found = [
        _criterion("baseline_unexplained", sum(row["unexplained"] or 0 for row in stock), 0, higher=False),
        _criterion("leaked_clips", len(report["data"]["leaks"]["clips"]), 0, higher=False),
    ]
    if report["environment"]["dtype"] == "fp32":  # in half precision a near tie may also flip one count
        counters = report["acceptance"]["counters"]
        counted = [(counters["equal"], counters["utterances"])]
        counted += [(row["counters_equal"], speed["clips"]) for row in rows if row["counters_equal"] is not None]
        equal, utterances = (sum(column) for column in zip(*counted, strict=True))
        found.append(_criterion("counters_equal", _share(equal, utterances), 1.0))
        long = report["quality"]["long_form"]
        if long["skipped"] is None:
            found.append(_criterion("long_form_identical", _share(long["identical"], long["recordings"]), 1.0))
            if "short_windows_identical" in long:
                share = _share(long["short_windows_identical"], long["recordings"])
                found.append(_criterion("short_windows_long_form_identical", share, 1.0))
        same = sum(row["identical"] or 0 for row in timed)
        found.append(_criterion("timed_output_identical", _share(same, speed["clips"] * len(timed)), 1.0))
    return found


def _share(part: int, whole: int) -> float:
    return part / whole


def _criterion(name: str, figure: float, target: float, higher: bool = True) -> Criterion:
    passed = figure >= target if higher else figure <= target
    return {
        "name": name,
        "figure": figure,
        "target": target,
        "higher_is_better": higher,
        "passed": passed,
        "kept": False,
    }
