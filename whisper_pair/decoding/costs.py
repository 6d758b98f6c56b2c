"""Timing a round and its parts on this machine, on caches that may be in use.

What is timed runs at positions past the model's last one, where no row's keys and values are, and sees keys before
them: real work, whose result nobody reads.
"""

import time
from collections.abc import Callable

import torch

from .draft_length import MEASURED, Costs
from .speculate import Rounds, Shape

KEYS = 64  # cached tokens seen, as in the middle of a sentence
REPEATS, ENOUGH = 5, 0.1  # timings of a piece: so many, or fewer once they took this many seconds together


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

    return Costs(
        batch_size=batch_size,
        draft=seconds(part("draft", lambda rows: rounds.draft_step(rows, shapes[1]), inputs)),
        verify={count: seconds(verify(shape)) for count, shape in shapes.items()},
        rounds={count: seconds(lambda shape=shape: rounds.greedy(inputs, shape)) for count, shape in shapes.items()},
    )


def seconds(action: Callable[[], object]) -> float:
    """The least time of an action that ends with the device's answer on the host: what disturbs it only ever adds."""
    action()
    taken: list[float] = []
    while len(taken) < REPEATS and sum(taken) < ENOUGH:
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return min(taken)
