"""How likely a text goes on after a token: what is drafted past its end wins nothing.

A round of g drafts goes on after each token with the chance that the main agrees *and* the text has not ended. Taking
each token for the last with the same chance h, the expected tokens of a round are sum over k <= g of (a (1 - h))^k: the
cost model's tau with a (1 - h) in the place of a. Short texts so get short drafts.
"""

from dataclasses import dataclass


@dataclass
class Continuation:
    """The running estimate of 1 - h in one call. It starts as if one text of `tokens` tokens had been seen."""

    tokens: float = 40.0
    ends: float = 1.0

    def observe(self, won: int, ended: bool) -> None:
        """Count one row's round: the tokens that it won, and whether the text ended with them."""
        self.tokens += won
        self.ends += ended

    @property
    def value(self) -> float:
        """1 - h"""
        return 1 - self.ends / self.tokens
