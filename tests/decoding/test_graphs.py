"""The logic of CUDA graphs, on the CPU: a stand-in records a round's operations and replays them in the same memory.

It is stricter than a GPU. Before each replay the memory of every graph is spoiled, as a shared pool may do, so that a
result read too late or a value that was not computed again shows; and what would make the host wait is refused.
"""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.decoding.models import ALWAYS, NEVER, ONCE_READ, cut, features, tiny_whisper, with_own_encoder
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.graphs import Captured, Graphs
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.tree import DraftTree

TREE = DraftTree.of([(0,), (1,), (2,), (0, 0), (0, 1), (1, 0), (0, 0, 0)])
WAITING = ("_local_scalar_dense", "is_nonzero", "item", "nonzero", "masked_select", "equal", "lift_fresh", "unique")


def tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def refuse_waiting(operation, args):
    name = operation.overloadpacket.__name__
    assert name not in WAITING, f"{name} makes the host wait for the device, or the device for the host"
    if name in ("index", "index_put", "index_put_"):
        assert all(index.dtype != torch.bool for index in tensors(args[1])), "the shape hangs on the data"


class Recorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        refuse_waiting(operation, args)
        result = operation(*args, **(kwargs or {}))
        places = {given.untyped_storage().data_ptr() for given in tensors((args, kwargs))}
        own = [one.untyped_storage().data_ptr() not in places for one in tensors(result)]  # else a view, or in place
        self.calls.append((operation, args, kwargs or {}, tensors(result), own))
        return result

    def replay(self):
        for operation, args, kwargs, results, own in self.calls:
            again = tensors(operation(*args, **kwargs))
            for place, value, fresh in zip(results, again, own, strict=True):
                if fresh:
                    place.copy_(value)

    def spoil(self):
        for *_, results, own in self.calls:
            for place, fresh in zip(results, own, strict=True):
                if fresh:
                    place.fill_(math.nan if place.is_floating_point() else 1)


class RecordedGraphs(Graphs):
    def __init__(self):
        super().__init__(torch.device("cpu"), enabled=True)
        self.recorders, self.replays = [], 0

    def _capture(self, function, inputs):
        places = tuple(value.clone() for value in inputs)
        function(*places)  # the warm-up, whose traces a replay must not mind
        with Recorder() as recorder:
            output = function(*places)
        self.recorders.append(recorder)

        def replay():
            self.replays += 1
            for other in self.recorders:
                other.spoil()
            recorder.replay()

        return Captured(replay, places, output)


def recorded(main, draft, **more):
    engine = Engine(main, draft, **more)
    engine.graphs = engine.caches.graphs = RecordedGraphs()
    engine.bucketed = True
    return engine


@pytest.mark.parametrize("ahead", [NEVER, ONCE_READ, ALWAYS])
@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"confidence": 0.4},
        {"log_probabilities": True},
        {"draft_tokens": 0},
        {"draft_tokens": TREE},
        {"draft_tokens": TREE, "log_probabilities": True},
        {"draft_tokens": 0, "log_probabilities": True},  # as the main labels
    ],
    ids=lambda changes: str(changes),
)
def test_replayed_rounds_equal_called_ones(ahead, timestamps, changes):
    main, windows = tiny_whisper(4), features(9, 4)
    draft = cut(main)
    options = Options(**{"language": "nl", "timestamps": timestamps, "batch_size": 3, "draft_tokens": 3} | changes)
    prompts = [None, [1, 2], list(range(20))] * 3
    engine = recorded(main, draft)
    engine.ahead = ahead
    found = engine.decode(windows, options, prompts)
    expected = Engine(main, draft).decode(windows, options, prompts)
    assert [row.tokens for row in found] == [row.tokens for row in expected]
    assert [row.accepted_per_round for row in found] == [row.accepted_per_round for row in expected]
    assert [row.mean_log_probability for row in found] == pytest.approx([row.mean_log_probability for row in expected])
    captured = len(engine.graphs.recorders)
    engine.decode(windows, options, prompts)
    assert len(engine.graphs.recorders) == captured  # nothing is captured twice
    assert engine.graphs.replays > 5 * captured


def test_graphs_outlive_neither_the_caches_nor_the_heads_that_they_were_captured_with():
    main, windows = tiny_whisper(2), features(8, 2)
    expected = [row.tokens for row in Engine(main).decode(windows, Options(language="nl"))]
    engine = recorded(main, with_own_encoder(main, 0.1))
    for batch_size in (2, 8, 1):  # the second needs larger caches
        options = Options(language="nl", batch_size=batch_size, draft_tokens=4)
        assert [row.tokens for row in engine.decode(windows, options)] == expected
    heads = engine.heads(timestamps=False)
    engine.replace_heads(False, heads[0], heads[1]._replace(bias=heads[1].bias - 1))
    assert not engine.graphs._captured


def test_the_graph_longest_unused_gives_way(monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.graphs.MOST_GRAPHS", 2)
    main, windows = tiny_whisper(4), features(9, 4)
    engine = recorded(main, cut(main))
    options = Options(language="nl", batch_size=4, draft_tokens=3)
    expected = [row.tokens for row in Engine(main).decode(windows, options)]
    assert [row.tokens for row in engine.decode(windows, options)] == expected
    assert len(engine.graphs._captured) == 2 < len(engine.graphs.recorders)


def test_an_automatic_draft_length_captures_few_graphs_and_measures_them_too(monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.costs.PASSES", 2)
    main, windows = tiny_whisper(4), features(6, 4)
    engine = recorded(main, cut(main))
    options = Options(language="nl", batch_size=2)
    expected = [row.tokens for row in Engine(main).decode(windows, options)]
    assert [row.tokens for row in engine.decode(windows, options)] == expected
    drafts = {key[1].tree for key in engine.graphs._captured if hasattr(key[1], "tree")}
    assert drafts <= {*map(DraftTree.chain, (0, 1, 2, 4, 8, 16)), *engine.round_times.trees}


def test_what_would_make_the_host_wait_is_noticed():
    graphs = RecordedGraphs()
    with pytest.raises(AssertionError, match="makes the host wait"):
        graphs("key", lambda given: given * int(given.sum()), torch.ones(2))
    with pytest.raises(AssertionError, match="shape hangs on the data"):
        graphs("key", lambda given: given[given > 0], torch.ones(2))
