"""Timing a round and its parts on this machine, on caches that may be in use.

What is timed runs at positions past the model's last one, where no row's keys and values are, and sees keys before
them: real work, whose result nobody reads.

Every choice of "auto" depends on these times, and other work on the machine must not change it. So all pieces are timed
in turn, pass after pass, until each one's least time was reached twice. In its turn each is run several times in a row,
as in a decoding loop: right after another shape's, a short step takes up to twice its time. On the CPU the clock is
that of the calling thread, which stops while others run; otherwise a long round, which is interrupted more often,
would look too expensive.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import torch
from torch import Tensor

from .draft_length import MEASURED, Costs
from .kv_cache import Keys
from .proposing import Proposer
from .round_shape import RoundShape
from .rounds import Rounds
from .tree import DraftTree

KEYS = 64  # cached tokens seen, as in the middle of a sentence
WIDTHS = (1, 2, 4, 8)  # tokens a row in one draft pass
PASSES, ENOUGH = 15, 1.0  # over all pieces, at most; no more than two once they took this many seconds together
MOMENT = 0.005  # seconds that a turn takes at least
NEAR = 1.1  # a least time is trusted once another one was at most this many times as long


def measure(rounds: Rounds, proposer: Proposer, batch_size: int, frames: int, trees: Sequence[DraftTree] = ()) -> Costs:
    """Costs of a pair, in seconds, at a batch size and over windows of so many frames that the caches can hold.
    `trees`: whose rounds are timed too."""
    inputs, device = unread(rounds, batch_size), rounds.main.decoder.device
    shapes = {count: shape_of(rounds, batch_size, DraftTree.chain(count), frames) for count in MEASURED}
    branching = {tree.text: shape_of(rounds, batch_size, tree, frames) for tree in trees}

    def part(name: str, function: Callable[..., torch.Tensor], *given: torch.Tensor) -> Callable[[], object]:
        key = (name, rounds.main.head.rules, batch_size, frames)
        return lambda: rounds.graphs(key, function, *given).tolist()

    def verify(shape: RoundShape) -> Callable[[], object]:
        drafts = torch.zeros(batch_size, len(shape.tree), dtype=torch.long, device=device)
        return part(f"verify {len(shape.tree)}", lambda rows, fed: rounds.verify(rows, fed, shape), inputs, drafts)

    def draft(width: int) -> Callable[[], object]:
        return part(f"draft {width}", lambda rows: proposer.one_pass(rows, shapes[1], width), inputs)

    taken = fastest(
        {
            **{("draft", width): draft(width) for width in WIDTHS},
            **{("verify", count): verify(shape) for count, shape in shapes.items()},
            **{("round", count): partial(rounds.greedy, inputs, shape) for count, shape in shapes.items()},
            **{("tree", text): partial(rounds.greedy, inputs, shape) for text, shape in branching.items()},
        },
        clock_of(device),
    )
    return Costs(
        batch_size=batch_size,
        draft=taken["draft", 1],
        verify={count: taken["verify", count] for count in MEASURED},
        rounds={count: taken["round", count] for count in MEASURED},
        widths={width: taken["draft", width] for width in WIDTHS},
        trees={text: taken["tree", text] for text in branching},
    )


def round_seconds(rounds: Rounds, frames: int, batch_size: int, tree: DraftTree) -> float:
    """Of one round over windows of so many frames, run a few times in a row: all that "auto" needs, and at once."""
    inputs, shape = unread(rounds, batch_size), shape_of(rounds, batch_size, tree, frames)
    return least_in_a_row(lambda: rounds.greedy(inputs, shape), clock_of(rounds.main.decoder.device))


def unread(rounds: Rounds, batch_size: int) -> Tensor:
    """A round's inputs at positions where no row's keys and values are."""
    length = rounds.main.decoder.max_length + 2
    return torch.tensor([[0, 0, length, 1, -1]] * batch_size, device=rounds.main.decoder.device)


def shape_of(rounds: Rounds, batch_size: int, tree: DraftTree, frames: int) -> RoundShape:
    """As short texts are decoded in: a captured graph then serves them too."""
    captured = rounds.graphs.enabled
    keys = Keys(KEYS, frames)
    return RoundShape(batch_size, 2, tree, keys, begins=captured, few_widths=captured, onward=rounds.onward)


def clock_of(device: torch.device) -> Callable[[], float]:
    """The clock, in seconds, that suits the device."""
    return time.thread_time if device.type == "cpu" else time.perf_counter


def fastest(actions: dict[Hashable, Callable[[], object]], clock: Callable[[], float]) -> dict[Hashable, float]:
    """Each action's least time: what disturbs a clock only ever adds. One that was nearly reached twice is undisturbed;
    while some action's was not, and passes and seconds are left, all are timed again.

    An action ends with the device's answer on the host.
    """
    taken: dict[Hashable, list[float]] = {name: [] for name in actions}
    begun = clock()
    for number in range(PASSES):
        if number >= 2 and (clock() - begun > ENOUGH or all(map(settled, taken.values()))):
            break
        for name, action in actions.items():
            taken[name].append(least_in_a_row(action, clock))
    return {name: min(times) for name, times in taken.items()}


def least_in_a_row(action: Callable[[], object], clock: Callable[[], float]) -> float:
    """The least seconds of an action that is run at least twice, for at least MOMENT; the mean where the clock is too
    coarse for one run."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < MOMENT:
        start = clock()
        action()
        times.append(clock() - start)
    return min(times) or sum(times) / len(times)


def settled(times: list[float]) -> bool:
    """Was the least time nearly reached twice?"""
    least, second = sorted(times)[:2]
    return second <= NEAR * least
