"""How likely a text goes on: what is drafted past its end wins nothing, so short texts get short drafts.

A round of g drafts goes on after each token with the chance a that the main agrees, and only if the text has not ended:
its expected tokens are the sum over k <= g of a^k P(the text is longer than p + k | it is longer than p), for a row
that has decoded p tokens. The chance is counted over the call's texts that have ended, beside one imagined text that
ends after each token with the same chance: the call's ends over its tokens. So a text near its beginning drafts as if
it never ended, and one as long as the others hardly at all.
"""

from collections.abc import Sequence

IMAGINED = 40  # tokens of a text, before any was seen


class Continuation:
    """The running estimate of one call."""

    def __init__(self) -> None:
        self.tokens, self.ends = IMAGINED, 1
        self.longer: list[int] = []  # [n] how many texts ended and had more than n tokens

    def observe(self, won: int, decoded: int, ended: bool) -> None:
        """Count one row's round: the tokens that it won, how many the text now has, and whether it ended with them."""
        self.tokens += won
        if ended:
            self.ends += 1
            self.longer += [0] * (decoded - len(self.longer))
            for length in range(decoded):
                self.longer[length] += 1

    def chances(self, decoded: Sequence[int], most: int) -> list[float]:
        """That a text goes on for more than k tokens, for k of 0 to `most`; of several, by the tokens that each has
        decoded so far, their mean: [most + 1]."""
        goes_on = 1 - self.ends / self.tokens
        imagined = [goes_on**k for k in range(most + 1)]
        total = [0.0] * (most + 1)
        for length in decoded:
            longer = self.longer[length : length + most + 1]
            longer += [0] * (most + 1 - len(longer))
            for k, (chance, count) in enumerate(zip(imagined, longer, strict=True)):
                total[k] += (chance + count) / (1 + longer[0])
        return [chance / len(decoded) for chance in total]
