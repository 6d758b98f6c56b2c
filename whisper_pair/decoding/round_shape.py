"""The fixed shape of a round."""

from dataclasses import dataclass

from .tree import DraftTree


@dataclass(frozen=True)
class RoundShape:
    """What a captured round depends on besides its inputs' values."""

    batch: int
    width: int  # last tokens that the round's inputs hold; the draft is fed all of them
    tree: DraftTree  # of drafts; a chain as a rule
    key_length: int  # greater than every slot fed
    begins: bool  # may some row be about to decode its first token?
    reads: int = 1  # of those last tokens, how many the main is fed: more where a row's prefix is yet to be read
    log_probabilities: bool = False  # are those of the main's choices wanted?
    until_end: bool = False  # may a chain stop once every row has drafted its end? Not where a graph fixes the shapes
