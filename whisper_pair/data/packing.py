"""Clips -> windows. Whisper's encoder works on whole windows, however little speech they hold, so clips are joined."""

import random
from collections.abc import Sequence
from dataclasses import replace

from ..audio import Perturbation
from ..config import Data, Perturb, Source
from .clips import Clip, Window

TIMESTAMP_TOKENS = 2  # for the begin and the end of a clip


def pack(
    clips: Sequence[Clip],
    data: Data,
    window_seconds: float,
    seed: int,
    tokens: dict[str, int] | None = None,
    max_tokens: int = 0,
    order: random.Random | None = None,
) -> list[Window]:
    """Joins clips, in corpus order and within a speaker, into windows no longer than `window_seconds` or `max_tokens`.

    A clip with text is never joined with one without. A random share of the clips also gets a window of its own, since
    test clips stand alone too. `tokens`: how many each clip's text needs, by its name; None: no limit. `order`: draws
    another order than the corpus's.
    """

    def needed(clip: Clip, counts: dict[str, int]) -> int:
        return counts[clip.name] + (TIMESTAMP_TOKENS * max(1, len(clip.times)) if data.timestamps else 0)

    def fits(joined: Window) -> bool:
        within = tokens is None or sum(needed(clip, tokens) for clip in joined.clips) <= max_tokens
        return joined.seconds <= window_seconds and within

    windows: list[Window] = []
    for group in _groups(clips):
        if order is not None:
            order.shuffle(group)
        joined: Window | None = None
        for clip in group:
            longer = Window((*joined.clips, clip), data.pack_gap) if joined and data.pack else None
            if longer is not None and fits(longer):
                joined = longer
                continue
            windows += [joined] if joined else []
            joined = Window((clip,), data.pack_gap if data.pack else 0.0)
        windows += [joined] if joined else []
    if data.pack:
        packed = {window.clips for window in windows}
        chance = random.Random(seed)
        alone = [Window((clip,), data.pack_gap) for clip in clips if chance.random() < data.unpacked_share]
        windows += [window for window in alone if window.clips not in packed]
    return _in_their_forms(windows, clips, data, window_seconds, seed)


def alone(clips: Sequence[Clip], data: Data, window_seconds: float, seed: int) -> list[Window]:
    """A window of its own for each clip, in the same shares of forms as those of `pack`."""
    return _in_their_forms([Window((clip,)) for clip in clips], clips, data, window_seconds, seed)


def _groups(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Clips that may be joined: of one source and speaker."""
    groups: dict[tuple[Source | None, str | None, bool], list[Clip]] = {}
    for clip in clips:
        groups.setdefault((clip.source, clip.speaker, clip.text is None), []).append(clip)
    return list(groups.values())


def _in_their_forms(
    windows: list[Window], clips: Sequence[Clip], data: Data, seconds: float, seed: int
) -> list[Window]:
    """The windows, a share of them with timestamps and a share with the speaker's previous text as a prompt."""
    if not data.timestamps and not data.previous_text:
        return windows
    place = {(clip.name, clip.start): (group, i) for group in _groups(clips) for i, clip in enumerate(group)}
    chance = random.Random(seed + 1)
    formed = []
    for window in windows:
        stamped, prompted = chance.random() < data.timestamps, chance.random() < data.previous_text
        first = window.clips[0]
        previous = _text_before(*place[first.name, first.start], seconds) if prompted else None
        formed.append(replace(window, timestamps=stamped, previous=previous))
    return formed


def _text_before(group: Sequence[Clip], number: int, seconds: float) -> str | None:
    """The human text of the clips before a speaker's clip, about a window of it; None where there is none."""
    if group[number].speaker is None:
        return None
    texts: list[str] = []
    while number > 0 and seconds >= 0 and (text := group[number - 1].text) is not None:
        number -= 1
        texts.insert(0, text)
        seconds -= group[number].seconds
    return " ".join(texts) or None


def repeated_by_weight(windows: Sequence[Window], seed: int) -> list[int]:
    """The windows' numbers, each as often as its source's weight says: at 2.5, twice or three times."""
    chance = random.Random(seed + 2)
    numbers = []
    for number, window in enumerate(windows):
        source = window.clips[0].source
        weight = max(1.0, source.weight) if source else 1.0  # below 1, clips were left out already
        times = int(weight) + (chance.random() < weight % 1)
        numbers += [number] * times
    return numbers


def perturbed_copies(
    clips: Sequence[Clip], data: Data, settings: Perturb, window_seconds: float, seed: int, most: int
) -> list[Window]:
    """`settings.copies` windows for each that `pack` makes, each perturbed in its own way; `most`: samples of a window.

    With `settings.joins` every copy of the corpus is packed in an order of its own.
    """
    copies = []
    for copy in range(settings.copies):
        order = random.Random(f"{seed} {copy}") if settings.joins else None
        for window in pack(clips, data, window_seconds, seed + copy + 1 if settings.joins else seed, order=order):
            drawn = random.Random(f"{seed} {copy} {window.key}").getrandbits(62)
            copies.append(replace(window, perturbation=Perturbation(settings, drawn, most)))
    return copies


def clips_per_window(windows: Sequence[Window]) -> float:
    """Clips for each window: how many times the encoder's work is saved."""
    return len(_clips(windows)) / len(windows)


def padding_saved(windows: Sequence[Window], window_seconds: float) -> str:
    """The share of sound in the windows beside that of windows with one clip each, in a line."""
    clips = _clips(windows)
    full = 100 * sum(window.seconds for window in windows) / (len(windows) * window_seconds)
    alone = 100 * sum(clip.seconds for clip in clips) / (len(clips) * window_seconds)
    return f"{len(windows)} windows, {full:.0f} % of them sound; unpacked {len(clips)} windows, {alone:.0f} % of them"


def _clips(windows: Sequence[Window]) -> set[Clip]:
    return {clip for window in windows for clip in window.clips}
