"""The verdict's criteria in words."""

from whisper_pair.report import Criterion, VerdictSection, criterion_name

from .section import Section, Table


def verdict(section: VerdictSection) -> Section:
    """The criteria, and the article's targets in a table of their own."""
    outcome = "passed" if section["passed"] else "not passed"
    text = (
        "Is the pair worth using on this machine? A speedup counts where its interval is above 1 and it was "
        "timed often enough to tell. The article's targets, in the second table, do not decide the verdict."
    )
    if any(c["kept"] for c in section["criteria"]):
        text += " Kept: at that batch size the engine leaves drafting off, which costs nothing that could be measured."
    header = ["figure", "required", "met"]
    criteria = Table(["criterion", *header], [_row(c, ", and its interval above 1") for c in section["criteria"]])
    marks = Table(["the article's target", *header], [_row(c) for c in section["article"]])
    return Section(f"Verdict: {outcome}", text, (criteria, marks))


def _row(c: Criterion, of_a_gain: str = "") -> list[str]:
    """`of_a_gain`: what is required of a speedup beside its figure."""
    required = f"{'at least' if c['higher_is_better'] else 'at most'} {c['target']:g}"
    if "speedup_batch_" in c["name"]:
        required += of_a_gain
    if c["name"] == "short_windows_errors":
        required += ", or not clearly more"
    met = "kept" if c["kept"] else "yes" if c["passed"] else "no"
    return [criterion_name(c["name"]), f"{c['figure']:.3g}", required, met]
