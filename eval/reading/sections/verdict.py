"""The verdict's criteria in words."""

from whisper_pair.report import Criterion, VerdictSection

from .section import Section, Table

CRITERIA = {
    "assistant_speedup": "how many times faster than the main the assistant decodes a token",
    "agreement": "share of the main's tokens that the assistant predicts",
    "batch_sizes_faster": "timed batch sizes at which the pair is faster than the main alone",
    "identical_output": "share of the test clips whose tokens are the main's",
    "baseline_unexplained": "transformers' transcripts that differ from the main's by more than a near tie",
    "leaked_clips": "test clips that were trained on",
    "counters_equal": "share of the transcripts whose counted rounds follow from the offline account",
    "long_form_identical": "share of the long recordings whose segments are the main's",
    "timed_output_identical": "share of the timed transcripts that are the main's",
}


def verdict(section: VerdictSection) -> Section:
    """The criteria, and the article's marks in a table of their own."""
    outcome = "passed" if section["passed"] else "not passed"
    text = (
        "Does the pair earn its place on this machine? A speedup counts where its interval lies above 1 and it was "
        "timed often enough to tell. The marks of the article, in the second table, decide nothing."
    )
    if any(c["kept"] for c in section["criteria"]):
        text += " Kept: at that batch size the engine leaves drafting off, which costs nothing that could be measured."
    header = ["figure", "required", "met"]
    criteria = Table(["criterion", *header], [_row(c) for c in section["criteria"]])
    marks = Table(["the article's mark", *header], [_row(c) for c in section["article"]])
    return Section(f"Verdict: {outcome}", text, (criteria, marks))


def criterion(name: str) -> str:
    """What a criterion's figure is."""
    batch = name.removeprefix("speedup_batch_")
    return CRITERIA[name] if batch == name else f"speedup over the main alone, batch {batch}"


def _row(c: Criterion) -> list[str]:
    required = f"{'at least' if c['higher_is_better'] else 'at most'} {c['target']:g}"
    met = "kept" if c["kept"] else "yes" if c["passed"] else "no"
    return [criterion(c["name"]), f"{c['figure']:.3g}", required, met]
