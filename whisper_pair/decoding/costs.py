"""Timing a round and its parts on this machine, on caches that may be in use.

What is timed runs at positions past the model's last one, where no row's keys and values are, and sees keys before
them: real work, whose result nobody reads.
"""

import math
import time
from collections.abc import Callable, Hashable

import torch

from .draft_length import MEASURED, Costs
from .speculate import Rounds, Shape

KEYS = 64  # cached tokens seen, as in the middle of a sentence
PASSES, ENOUGH = 7, 1.0  # over all pieces in turn; fewer, but at least two, once they took this many seconds together


def measure(rounds: Rounds, batch_size: int) -> Costs:
    """Costs of a pair at a batch size that the caches can hold."""
    device = rounds.main.decoder.device
    length = rounds.main.decoder.max_length + 2
    inputs = torch.tensor([[0, 0, length, 1, -1]] * batch_size, device=device)
    shapes = {count: Shape(batch_size, 2, count, KEYS, begins=False) for count in MEASURED}

    def part(name: str, function: Callable[..., torch.Tensor], *given: torch.Tensor) -> Callable[[], object]:
        key = (name, rounds.main.head.rules, batch_size)
        return lambda: rounds.graphs(key, function, *given).tolist()

    def verify(shape: Shape) -> Callable[[], object]:
        drafts = torch.zeros(batch_size, shape.draft_tokens, dtype=torch.long, device=device)
        return part(f"verify {shape.draft_tokens}", lambda rows, said: rounds.verify(rows, said, shape), inputs, drafts)

    taken = fastest(
        {
            ("draft", 1): part("draft", lambda rows: rounds.draft_step(rows, shapes[1]), inputs),
            **{("verify", count): verify(shape) for count, shape in shapes.items()},
            **{("round", count): lambda shape=shape: rounds.greedy(inputs, shape) for count, shape in shapes.items()},
        }
    )
    return Costs(
        batch_size=batch_size,
        draft=taken["draft", 1],
        verify={count: taken["verify", count] for count in MEASURED},
        rounds={count: taken["round", count] for count in MEASURED},
    )


def fastest(actions: dict[Hashable, Callable[[], object]]) -> dict[Hashable, float]:
    """Each action's least time over several passes through all of them: what disturbs a clock only ever adds, and it
    seldom lasts for all passes. An action ends with the device's answer on the host."""
    for action in actions.values():
        action()
    least = dict.fromkeys(actions, math.inf)
    begun = time.perf_counter()
    for number in range(PASSES):
        if number >= 2 and time.perf_counter() - begun > ENOUGH:
            break
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            least[name] = min(least[name], time.perf_counter() - start)
    return least
