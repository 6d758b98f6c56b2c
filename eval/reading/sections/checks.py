"""Is the output the main's own, and was the test set kept out of training?"""

from whisper_pair.report import DataSection, Report

from .acceptance import quoted
from .section import Section, Table


def identity(report: Report) -> Section:
    """How many utterances are the main's, and where the others first differ."""
    section = report["identity"]
    same, total = section["identical"], section["utterances"]
    text = (
        f"{same} of {total} utterances are the main's, token for token, with "
        f"{report['acceptance']['counters']['draft_tokens']} draft tokens per round."
    )
    if total > same:
        text += f" {section['near_ties']} differ by a near tie, {section['unexplained']} without one."
    if section["batch_1_against_8"] is not None:
        text += f" Plain greedy alone differs in {section['batch_1_against_8']} between batch 1 and 8."
    rows = [
        [d["clip"], str(d["position"]), quoted(d["main"]), quoted(d["other"]), f"{d['gap']:.4f}", f"{d['noise']:.4f}"]
        for d in section["differences"]
    ]
    header = ["clip", "first differing token", "main", "pair", "gap of the two highest logits", "noise of a logit"]
    return Section("Identity", text, (Table(header, rows),) if rows else ())


def leaks(data: DataSection) -> Section:
    """Test clips and sentences that were trained on."""
    found = data["leaks"]
    if not found["compared"]:
        return Section("Test data", "No training data was available to compare the test clips with.")
    text = (
        f"{len(found['clips'])} test clips hold sound that was trained on ({', '.join(found['compared'])}); "
        f"{found['texts']} of {data['clips']} sentences were trained on in another recording."
    )
    if found["not_compared"]:
        text += f" Not compared: {', '.join(found['not_compared'])}."
    tables = (Table(["trained on"], [[name] for name in found["clips"]]),) if found["clips"] else ()
    return Section("Test data", text, tables)
