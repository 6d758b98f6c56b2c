"""A share of a corpus, divided by speakers: the same division every time, its parts without a speaker in common.

Speakers are in order of how much they say, the fewest clips first and a digest of the name where these are equal; a
part holds those whose middle is between its two bounds. So the small parts, which are held out, have many voices. A
corpus of few speakers is divided by its clips instead, in the order of their names' digests.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator

from .rows import Row

logger = logging.getLogger(__name__)
FEWEST = 20  # speakers
LARGEST = 0.5  # share of the clips that one speaker may have


def part_of(rows: Iterable[Row], low: float, high: float, name: str) -> Iterator[Row]:
    """The rows, in their order, of the part of a corpus between two shares of it; `name`: of the corpus."""
    everything = list(rows)
    counts = Counter(row.speaker for row in everything if row.speaker is not None)
    by_speaker = len(counts) >= FEWEST and max(counts.values()) <= LARGEST * len(everything)
    if not by_speaker:
        logger.warning(
            "%s: has %d speakers that are known, too few to divide it by; its parts may share voices", name, len(counts)
        )

    def key(row: Row) -> str:
        return row.speaker if by_speaker and row.speaker is not None else f"clip {row.name}"

    sizes = Counter(key(row) for row in everything)
    inside, before = set(), 0
    for owner in sorted(sizes, key=lambda owner: (sizes[owner], _digest(owner))):
        middle = (before + sizes[owner] / 2) / len(everything)
        before += sizes[owner]
        if low <= middle < high:
            inside.add(owner)
    return (row for row in everything if key(row) in inside)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
