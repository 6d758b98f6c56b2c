"""Token matches and costs that several tests take."""

import numpy as np

from tests.decoding.models import END
from whisper_pair.decoding.acceptance import TokenMatches
from whisper_pair.decoding.draft_length import Costs

COSTS = Costs(1, draft=0.001, verify=dict.fromkeys((0, 1, 2, 4, 8, 16), 0.01), rounds=dict.fromkeys(range(17), 0.01))


def matches(utterances: int = 30, seed: int = 0, chance: float = 0.8) -> list[TokenMatches]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(utterances):
        length = int(rng.integers(1, 20))
        tokens = [*rng.integers(0, 50, length).tolist(), END]
        choices = [token if rng.random() < chance else 51 for token in tokens]
        found.append(TokenMatches.of(tokens, choices, END, 40))
    return found
