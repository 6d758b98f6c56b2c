"""A compiled layer says what the plain one says; compiling is bounded, logged, and never needed."""

import logging
import os
import signal

import pytest
import torch

from tests.decoding.models import cut, features, tiny_whisper
from whisper_pair.decoding.compiled import CompiledLayer
from whisper_pair.decoding.decoder import compiled_layer, layer_forward
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.tree import DraftTree
from whisper_pair.errors import StoppedError
from whisper_pair.runs.signals import stop_on_signals

TREE = DraftTree.of([(0,), (1,), (2,), (0, 0), (0, 1), (1, 0), (0, 0, 0)])


def test_compiling_stops_when_it_has_taken_its_time_and_what_is_compiled_stays_so(caplog):
    caplog.set_level(logging.INFO)
    now, made = [0.0], []

    def backend(graph, inputs):
        now[0] += 4.0
        made.append(tuple(inputs[0].shape))
        return graph

    layer = CompiledLayer(lambda x, more: x + more[0], "a layer", backend=backend, most=6.0, clock=lambda: now[0])
    for size in (2, 3, 4, 5, 2, 3, 4):
        x = torch.arange(float(size))
        assert torch.equal(layer(x, (x, None)), 2 * x)
    assert made == [(2,), (3,)]
    assert [record.message for record in caplog.records] == [
        "a layer compiled for (2,) in 4.0 s",
        "a layer compiled for (3,) in 4.0 s",
        "a layer runs uncompiled for (4,): compiling took 8 s so far",
        "a layer runs uncompiled for (5,): compiling took 8 s so far",
    ]


def test_a_decoder_decodes_on_where_nothing_can_be_compiled(caplog):
    def broken(graph, inputs):
        raise RuntimeError("no C compiler\nand more")

    main, windows = tiny_whisper(4), features(3, 4)
    options = Options(language="nl", batch_size=2, draft_tokens=3)
    expected = [row.tokens for row in Engine(main).decode(windows, options)]
    engine = Engine(main, cut(main))
    engine.main.compile()
    engine.main.run_layer = CompiledLayer(layer_forward, "a decoder layer", backend=broken)
    assert [row.tokens for row in engine.decode(windows, options)] == expected
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.message.startswith("a decoder layer runs uncompiled: ")


def test_a_signal_to_stop_is_no_failure_of_the_compiler():
    def stopped(graph, inputs):
        os.kill(os.getpid(), signal.SIGTERM)
        return graph

    layer = CompiledLayer(lambda x: x + 1, "a layer", backend=stopped)
    with pytest.raises(StoppedError), stop_on_signals(lambda: "all is kept"):
        layer(torch.ones(2))
    assert not layer.failed


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_one_compiled_layer_serves_main_and_assistant_and_other_engines(backend):
    main, windows = tiny_whisper(4), features(3, 4)
    expected = [row.tokens for row in Engine(main).decode(windows, Options(language="nl"))]
    torch._dynamo.reset()
    compiled_layer.cache_clear()
    torch._dynamo.utils.counters.clear()
    for _ in range(2):
        engine = Engine(main, cut(main))
        engine.bucketed = True
        engine.main.compile(backend)
        engine.draft.compile(backend)
        for draft_tokens in (3, 4, TREE):  # the first two are one shape to the main
            rows = engine.decode(windows, Options(language="nl", batch_size=2, draft_tokens=draft_tokens))
            assert [row.tokens for row in rows] == expected
    shapes = len(engine.main.run_layer._chosen)
    assert engine.main.run_layer is engine.draft.run_layer
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == shapes
    assert not engine.main.run_layer.failed
