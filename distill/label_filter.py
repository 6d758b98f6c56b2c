"""Which labels the assistant may learn from, decided clip by clip.

A packed window holds several clips, of which one may be mislabelled and the rest fine. Where the human text is known,
the main's words are aligned with it, so that each clip has an error rate of its own: a bad clip is dropped, and the
others are labelled again without it. Where only Whisper's signs of hallucination speak against a window, the
bad clip is unknown, and each clip is labelled again by itself. Labelling again is exact: the audio then holds what the
label says, and the label is the main's own greedy output for it. Tokens cut out of a label would leave their sound in
the window.
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

from .labelling import Labeller, label_windows
from .labels import LabelRow, read_labels

SAMPLES = 5  # of what each rule removed, for the report
LONGEST_PHRASE = {False: 5, True: 20}  # words, or characters in a language without spaces


@dataclass(frozen=True)
class LabelFilter:
    """Decides which labels are dropped, by the limits in `settings`."""

    settings: Distill
    language: str
    normalizer: Normalizer

    def sign(self, row: LabelRow) -> str | None:
        """The sign of a hallucination in the label itself; None: there is none."""
        s = self.settings
        if not row.finished:
            return "without an end"
        if s.max_compression_ratio is not None and row.compression_ratio > s.max_compression_ratio:
            return f"compression ratio above {s.max_compression_ratio:g}"
        if s.max_repeats is not None and self.repeats(row) > s.max_repeats:
            return f"a phrase more than {s.max_repeats} times in a row"
        if s.max_tokens_per_second is not None and len(row.tokens) > s.max_tokens_per_second * row.seconds:
            return f"over {s.max_tokens_per_second:g} tokens per second"
        return None

    def bad_clips(self, window: Window, row: LabelRow) -> list[int]:
        """The window's clips above the error limit, by number; none without a limit or a human text."""
        limit = self.settings.max_label_error
        if limit is None or window.text is None:
            return []
        rates = self.clip_errors(window, row)
        return [i for i, rate in enumerate(rates) if rate.rate > limit]

    def clip_errors(self, window: Window, row: LabelRow) -> list[ErrorRate]:
        """Errors of each of the window's clips; their human texts must be known."""
        return aligned_errors([clip.text or "" for clip in window.clips], row.text, self.language, self.normalizer)

    def repeats(self, row: LabelRow) -> int:
        """How often the label repeats a phrase in a row."""
        return most_repeats(self._units(row.text), self._longest)

    @property
    def _longest(self) -> int:
        return LONGEST_PHRASE[self.language in WITHOUT_SPACES]

    def _units(self, text: str) -> list[str]:
        text = self.normalizer(text)
        return list(text.replace(" ", "")) if self.language in WITHOUT_SPACES else text.split()


def most_repeats(units: Sequence[str], longest: int) -> int:
    """The most times in a row that a phrase of at most `longest` units (words or characters) occurs."""
    most = min(1, len(units))
    for length in range(1, longest + 1):
        run = 0  # units in a row that equal the one `length` before
        for i in range(length, len(units)):
            run = run + 1 if units[i] == units[i - length] else 0
            most = max(most, 1 + run // length)
    return most


@dataclass
class FilteredLabels:
    """The labels that are kept, and which were dropped and why, counted in clips."""

    kept: list[tuple[Window, LabelRow]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[tuple[str, str | None, str]]] = field(default_factory=dict)  # clip, human text, label
    again: int = 0  # windows that were labelled again without their bad clips

    def drop(self, reason: str, window: Window, clips: Sequence[int], text: str) -> None:
        """Counts clips of a window, by number, as dropped; `text`: the window's label."""
        self.dropped[reason] += len(clips)
        samples = self.samples.setdefault(reason, [])
        for clip in (window.clips[i] for i in clips):
            if len(samples) < SAMPLES:
                samples.append((clip.name, clip.text, text))

    def report(self) -> str:
        """One line: how many are kept and dropped, and why."""
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
    label_filter: LabelFilter, labeller: Labeller, windows: Sequence[Window], rows: list[LabelRow], folder: Path,
    accelerator,
) -> FilteredLabels:  # fmt: skip
    """Filters the labels, and labels again in `folder` what must be, until none is left. Raises InputError if none is
    kept."""
    found, known = FilteredLabels(), {window.key for window in windows}
    while True:
        again: list[Window] = []
        for row in rows:
            window = windows[row.window]
            again += [rest for rest in filtered(label_filter, window, row, found) if rest.key not in known]
        if not again:
            break
        known |= {window.key for window in again}
        found.again += len(again)
        place = folder / f"again-{_digest(again)}"  # kept: other thresholds may need the same windows
        place.mkdir(exist_ok=True)
        label_windows(labeller, again, place, accelerator)
        windows, rows = again, read_labels(place)
    if not found.kept:
        raise InputError(f"{found.report()}: none is kept; train the main longer or raise the limits of distill.")
    return found


def filtered(label_filter: LabelFilter, window: Window, row: LabelRow, found: FilteredLabels) -> list[Window]:
    """Keeps or drops the window's clips in `found`; returns the windows that must be labelled again."""
    sign = label_filter.sign(row)
    if sign is not None and len(window.clips) == 1:
        found.drop(sign, window, range(len(window.clips)), row.text)
        return []
    if sign is not None:
        return [replace(window, clips=(clip,)) for clip in window.clips]
    bad = label_filter.bad_clips(window, row)
    if not bad:
        found.kept.append((window, row))
        return []
    found.drop(f"error above {label_filter.settings.max_label_error:g}", window, bad, row.text)
    rest = tuple(clip for i, clip in enumerate(window.clips) if i not in bad)
    return [replace(window, clips=rest)] if rest else []


def _digest(windows: Sequence[Window]) -> str:
    return hashlib.sha256(json.dumps([window.key for window in windows]).encode()).hexdigest()[:16]
