"""Which labels the assistant may learn from, decided clip by clip.

A packed window holds several clips, of which one may be mislabelled and the rest fine. Where the human text is known,
the main's words are aligned with it, so that each clip has an error rate of its own: a bad clip leaves, and what
remains is labelled again without it. Where only Whisper's signs of hallucination speak against a window, no clip can be
blamed, and each is labelled again alone. To label again is exact: the audio then holds what the label says, and the
label is the main's own greedy output for it; tokens cut out of a label would leave their sound in the window.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from whisper_pair.config import Distill
from whisper_pair.data import Window
from whisper_pair.errors import InputError
from whisper_pair.text import WITHOUT_SPACES, ErrorRate, Normalizer, aligned_errors

from .labelling import Labeller, label_windows, read_labels

SAMPLES = 5  # of what each rule removed, for the report
LONGEST_PHRASE = {False: 5, True: 20}  # words, or characters in a language without spaces


@dataclass(frozen=True)
class LabelFilter:
    settings: Distill
    language: str
    normalizer: Normalizer

    def sign(self, row: dict) -> str | None:
        """What in the label itself says that the main was not listening."""
        s = self.settings
        if not row["finished"]:
            return "without an end"
        if s.max_compression_ratio is not None and row["compression_ratio"] > s.max_compression_ratio:
            return f"compression ratio above {s.max_compression_ratio:g}"
        if s.max_repeats is not None and self.repeats(row) > s.max_repeats:
            return f"a phrase more than {s.max_repeats} times in a row"
        if s.max_tokens_per_second is not None and len(row["tokens"]) > s.max_tokens_per_second * row["seconds"]:
            return f"over {s.max_tokens_per_second:g} tokens per second"
        return None

    def bad_clips(self, window: Window, row: dict) -> list[int]:
        """Which of the window's clips err too much; none where no limit is set or the human text is not known."""
        limit = self.settings.max_label_error
        if limit is None or window.text is None:
            return []
        rates = self.clip_errors(window, row)
        return [i for i, rate in enumerate(rates) if rate.rate > limit]

    def clip_errors(self, window: Window, row: dict) -> list[ErrorRate]:
        return aligned_errors([clip.text for clip in window.clips], row["text"], self.language, self.normalizer)

    def repeats(self, row: dict) -> int:
        return most_repeats(self._units(row["text"]), self._longest)

    @property
    def _longest(self) -> int:
        return LONGEST_PHRASE[self.language in WITHOUT_SPACES]

    def _units(self, text: str) -> list[str]:
        text = self.normalizer(text)
        return list(text.replace(" ", "")) if self.language in WITHOUT_SPACES else text.split()


def most_repeats(units: Sequence[str], longest: int) -> int:
    """How often the phrase of at most `longest` units that is said most often in a row is said."""
    most = min(1, len(units))
    for length in range(1, longest + 1):
        run = 0  # units in a row that equal the one `length` before
        for i in range(length, len(units)):
            run = run + 1 if units[i] == units[i - length] else 0
            most = max(most, 1 + run // length)
    return most


@dataclass
class FilteredLabels:
    """What can be trusted, and what was dropped and why, counted in clips."""

    kept: list[tuple[Window, dict]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[tuple[str, str | None, str]]] = field(default_factory=dict)  # clip, human text, label
    again: int = 0  # windows that were labelled again without their bad clips

    def drop(self, reason: str, window: Window, clips: Sequence[int], text: str) -> None:
        self.dropped[reason] += len(clips)
        samples = self.samples.setdefault(reason, [])
        for clip in (window.clips[i] for i in clips):
            if len(samples) < SAMPLES:
                samples.append((clip.name, clip.text, text))

    def report(self) -> str:
        lost = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))
        again = f"; {self.again} windows labelled again without their bad clips" if self.again else ""
        return f"labels: {len(self.kept)} windows" + (f"; dropped clips: {lost}" if lost else "") + again

    def section(self) -> str:
        """The same for the data report, with samples."""
        lines = ["", "### Labels", "", self.report(), ""]
        for reason, samples in sorted(self.samples.items()):
            lines += [f"{self.dropped[reason]} clips: {reason}", ""]
            for name, human, text in samples:
                lines.append(f"- `{name}`: human {_quoted(human)}, main {_quoted(text)}")
            lines.append("")
        return "\n".join(lines)


def _quoted(text: str | None) -> str:
    if text is None:
        return "unknown"
    text = " ".join(text.split())
    return f'"{text if len(text) <= 200 else text[:200] + "..."}"'


def trusted_labels(
    judge: LabelFilter, labeller: Labeller, windows: Sequence[Window], rows: list[dict], folder: Path, accelerator
) -> FilteredLabels:
    """Judges the labels and labels again what must be, until nothing is left to be."""
    found, known = FilteredLabels(), {window.key for window in windows}
    while True:
        again: list[Window] = []
        for row in rows:
            window = windows[row["window"]]
            again += [rest for rest in judged(judge, window, row, found) if rest.key not in known]
        if not again:
            break
        known |= {window.key for window in again}
        found.again += len(again)
        place = folder / f"again-{_digest(again)}"  # kept: other thresholds may ask for the same windows
        place.mkdir(exist_ok=True)
        label_windows(labeller, again, place, accelerator)
        windows, rows = again, read_labels(place)
    if not found.kept:
        raise InputError(
            f"{found.report()}: none can be trusted; train the main longer or raise the limits of distill."
        )
    return found


def judged(judge: LabelFilter, window: Window, row: dict, found: FilteredLabels) -> list[Window]:
    """Keeps or drops the window's clips in `found`; returns the windows that must be labelled again."""
    sign, everyone = judge.sign(row), range(len(window.clips))
    if sign is not None and len(window.clips) == 1:
        found.drop(sign, window, everyone, row["text"])
        return []
    if sign is not None:
        return [replace(window, clips=(clip,)) for clip in window.clips]
    bad = judge.bad_clips(window, row)
    if not bad:
        found.kept.append((window, row))
        return []
    found.drop(f"error above {judge.settings.max_label_error:g}", window, bad, row["text"])
    rest = tuple(clip for i, clip in enumerate(window.clips) if i not in bad)
    return [replace(window, clips=rest)] if rest else []


def _digest(windows: Sequence[Window]) -> str:
    return hashlib.sha256(json.dumps([window.key for window in windows]).encode()).hexdigest()[:16]
