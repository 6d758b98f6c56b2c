"""Which clips of some sources are used, and why the others are not.

A training clip that cannot be used is counted by the first reason that holds. A validation or test set loses nothing in
silence: a bad clip is refused by name. No clip of theirs may be in training.
"""

import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from ..config import Data, Source
from ..errors import InputError
from .cells import SLACK
from .clips import Clip
from .rows import NOT_LISTED, Row
from .survey import Audit, survey
from .transcripts import Times, transcript

logger = logging.getLogger(__name__)

NAMED = 5  # clips that a message names


@dataclass
class Corpus:
    """The usable clips of some sources, and why the others are not."""

    clips: list[Clip]
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)  # by reason: a few of the clips that it dropped
    marked: int = 0  # texts that special tokens were taken out of
    odd: Counter[str] = field(default_factory=Counter)  # what was odd about the audio of used clips

    def drop(self, reason: str, name: str) -> None:
        """Counts a clip that is not used."""
        self.dropped[reason] += 1
        named = self.examples.setdefault(reason, [])
        if len(named) < NAMED:
            named.append(name)

    def report(self, title: str) -> str:
        """How many clips and hours are used, and why the others are not, in a line."""
        hours = sum(clip.seconds for clip in self.clips) / 3600
        lost = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))
        odd = ", ".join(f"{count} with {what}" for what, count in sorted(self.odd.items()))
        used = f"{title}: {len(self.clips)} clips, {hours:.2f} h" + (f"; dropped {lost}" if lost else "")
        marked = f"; took special tokens out of {self.marked} texts" if self.marked else ""
        return used + (f"; of those used, {odd}" if odd else "") + marked

    def need_clips(self) -> None:
        """Raises InputError where no clip is left."""
        if not self.clips:
            raise InputError(f"data.train: no clip can be used ({self.report('training')}).")


def load_training_clips(sources: Sequence[Source], data: Data, window_seconds: float) -> Corpus:
    """Every usable clip; the others are counted by their reasons.

    `window_seconds`: the longest clip. Raises InputError where a clip of the validation or test set is among them.
    """
    corpus = Corpus([])
    names: dict[str, str] = {}  # by the digest of the samples
    splitting = data.long_audio == "split"
    for source in sources:
        chance = random.Random(f"{source.name} {source.split}")
        for row, found in survey(source, data.cache, None if splitting else window_seconds):
            row, times, marked = bare(row, data)
            reason = found.problem or why_dropped(row, found, data, window_seconds)
            if reason is None and (times is None or (times and times[-1][1] > found.seconds + SLACK)):
                reason = "times out of order"
            if reason is None and found.sha256 in names:
                reason = "duplicate"
            if chance.random() >= source.weight:  # drawn for every row, so that no filter moves the choice
                reason = reason or "left out by weight"
            if reason is not None:
                corpus.drop(reason, row.name)
                continue
            names[found.sha256] = row.name
            corpus.odd.update(found.detail.split("\n") if found.detail else ())
            corpus.marked += marked
            clip = _clip(row, found, source, times or ())
            corpus.clips += [clip] if found.seconds <= window_seconds else _split(clip, window_seconds)
    corpus.need_clips()
    _refuse_leaks(names, data, window_seconds)
    return corpus


def _clip(row: Row, found: Audit, source: Source, times: Times = ()) -> Clip:
    """A row whose audio was decoded, so that it has some."""
    assert row.audio is not None
    return Clip(row.name, row.audio, found.seconds, row.text, row.speaker, found.start, source, times)


def bare(row: Row, data: Data) -> tuple[Row, Times | None, bool]:
    """The row without special tokens in its text, the times of its segments with special_tokens: times (None where they
    are out of order), and whether its text held any token. Raises InputError with special_tokens: refuse."""
    found = transcript(row.text or "")
    if not found.marks:
        return row, (), False
    if data.special_tokens == "refuse":
        place = f" ({row.place})" if row.place else ""
        raise InputError(
            f"{row.name}{place}: its text holds {found.marks[0]}; take that out, or set data.special_tokens: drop."
        )
    return replace(row, text=found.text), found.times if data.special_tokens == "times" else (), True


def why_dropped(row: Row, found: Audit, data: Data, window_seconds: float) -> str | None:
    """The first reason against a training clip whose audio is sound."""
    if found.seconds < data.min_seconds:
        return "too short"
    if found.seconds > window_seconds:  # split, it loses its text, which may then be any
        return f"over {window_seconds:.0f} s" if data.long_audio == "drop" else None
    if row.text is None:
        return None
    if not row.text.strip():
        return "empty text"
    pace = len(row.text.strip()) / found.seconds
    if pace > data.max_characters_per_second:
        return f"over {data.max_characters_per_second:g} characters per second"
    if pace < data.min_characters_per_second:
        return f"under {data.min_characters_per_second:g} characters per second"
    return None


def load_test_clips(sources: Sequence[Source], data: Data, window_seconds: float, split: str) -> list[Clip]:
    """Every clip of a validation or test set. A clip that cannot be used raises InputError.

    `split`: "validation" or "test", for messages.
    """
    clips: list[Clip] = []
    long = marked_texts = 0
    with closing(audited(sources, data, window_seconds, say=True)) as rows:  # a refusal releases the survey's lock
        for row, found, source in rows:
            if found.problem not in (None, "silent"):
                raise InputError(f"{found.detail} Remove the clip from data.{split} or fix it.")
            if found.seconds > window_seconds:
                if data.long_test_audio == "refuse":
                    raise InputError(
                        f"data.{split}: {row.name} lasts {found.seconds:.1f} s; cut it to at most "
                        f"{window_seconds:.0f} s, or set data.long_test_audio to drop."
                    )
                long += 1
                continue
            if row.text is None:
                raise InputError(f"data.{split}: {row.name} has no text to score by; remove the clip or give its text.")
            row, _, marked = bare(row, data)
            marked_texts += marked
            clips.append(_clip(row, found, source))
    if not clips:
        raise InputError(f"data.{split}: holds no clip that can be used.")
    if long:
        logger.info("%s: %d clips; dropped %d over %.0f s", split, len(clips), long, window_seconds)
    if marked_texts:
        logger.info("%s: took special tokens out of %d of %d texts", split, marked_texts, len(clips))
    return clips


def long_test_clips(sources: Sequence[Source], data: Data, window_seconds: float) -> list[Clip]:
    """The clips with text that load_test_clips drops for their length. A streamed source does not keep them."""
    kept = [source for source in sources if not source.stream]
    return [
        _clip(bare(row, data)[0], found, source)
        for row, found, source in audited(kept, data, window_seconds)
        if found.problem is None and found.seconds > window_seconds and row.text
    ]


def audited(
    sources: Sequence[Source], data: Data, longest: float | None, say: bool = False
) -> Generator[tuple[Row, Audit, Source]]:
    """Every listed row with its audit. A file that the metadata does not list is no part of a set.

    `longest`: seconds up to which a clip is decoded; `say`: the number of files that are not listed is logged.
    """
    for source in sources:
        others = 0
        with closing(survey(source, data.cache, longest)) as rows:
            for row, found in rows:
                if row.problem == NOT_LISTED:
                    others += 1
                else:
                    yield row, found, source
        if others and say:
            logger.info("%s: left out %d audio files that its metadata does not list", source.name, others)


def _refuse_leaks(names: dict[str, str], data: Data, window_seconds: float) -> None:
    """`names`: of the training clips, by the digest of their samples."""
    leaked = [
        f"{names[found.sha256]} = {row.name}"
        for row, found, _ in audited((*data.validation, *data.test), data, window_seconds)
        if found.sha256 in names
    ]
    if leaked:
        named = ", ".join(leaked[:NAMED]) + (", ..." if len(leaked) > NAMED else "")
        raise InputError(
            f"data.train: holds {len(leaked)} clips of the validation or test sets ({named}), which must be new to the "
            "models that they judge; remove them from one of the two."
        )


def drop_long_texts(corpus: Corpus, count_tokens: Callable[[list[str]], list[int]], limit: int) -> dict[str, int]:
    """Drops clips whose text needs more than `limit` tokens; returns each kept clip's number of tokens by its name."""
    texts = [clip.text or "" for clip in corpus.clips]
    kept: list[Clip] = []
    counts: dict[str, int] = {}
    for clip, tokens in zip(corpus.clips, count_tokens(texts) if texts else [], strict=True):
        if tokens > limit:
            corpus.drop(f"text over {limit} tokens", clip.name)
        else:
            kept.append(clip)
            counts[clip.name] = tokens
    corpus.clips = kept
    corpus.need_clips()
    return counts


def _split(clip: Clip, window_seconds: float) -> list[Clip]:
    """Equal pieces that fit the window, without text: the main labels them for distillation."""
    pieces = math.ceil(clip.seconds / window_seconds)
    length = clip.seconds / pieces
    return [replace(clip, seconds=length, text=None, start=clip.start + i * length, times=()) for i in range(pieces)]
