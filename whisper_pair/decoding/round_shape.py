"""The fixed shape of a round."""

from dataclasses import dataclass

from .kv_cache import Keys
from .tree import DraftTree

# Tokens that the main is fed at once, where they are bucketed. A GPU checks 2 to 17 tokens in the same time, and each
# number of them is another graph to capture and another layer to compile. 0, 1, 2, 4, 8, 16 drafts are among them.
FED = (1, 2, 3, 5, 9, 17, 33)


@dataclass(frozen=True)
class RoundShape:
    """What a captured round depends on besides its inputs' values."""

    batch: int
    width: int  # last tokens that the round's inputs hold; the draft is fed all of them
    tree: DraftTree  # of drafts; a chain as a rule
    keys: Keys  # that are attended to
    begins: bool  # may some row be about to decode its first token?
    reads: int = 1  # of those last tokens, how many the main is fed: more where a row's prefix is yet to be read
    log_probabilities: bool = False  # are those of the main's choices wanted?
    until_end: bool = False  # may a chain stop once every row has drafted its end? Not where a graph fixes the shapes
    few_widths: bool = False  # is the main fed one of few numbers of tokens? Where a token more costs it nothing

    onward: bool = False  # are the next round's inputs made on the device?

    def fed(self, tokens: int) -> int:
        """How many tokens of a row the main is fed where so many are needed; what is added follows them and is read by
        nobody."""
        return next((width for width in FED if width >= tokens), tokens) if self.few_widths else tokens
