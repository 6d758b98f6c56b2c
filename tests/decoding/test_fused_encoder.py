"""A GPU's encoder, fused and compiled, computes what transformers' does; a CPU's stays as it was."""

import copy
import logging
import re

import pytest
import torch

from tests.decoding.models import features, tiny_whisper
from whisper_pair.decoding.fused_encoder import Compiled, FusedEncoder, for_inference


def encoder(layers=3, heads=2):
    main = tiny_whisper(3, heads=heads)
    found = main.model.encoder
    found.layers.extend(copy.deepcopy(found.layers[0]) for _ in range(layers - 1))
    with torch.no_grad():
        for number, layer in enumerate(found.layers):
            layer.fc1.weight.mul_(1 + 0.1 * number)
    return found


def states(module, windows):
    with torch.inference_mode():
        return module(windows).last_hidden_state


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_fused_encoder_is_transformers(heads):
    plain = encoder(heads=heads)
    windows = features(4, 3)
    assert torch.allclose(states(FusedEncoder(plain), windows), states(plain, windows), atol=1e-5)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_one_compiled_layer_serves_all_layers_and_batch_sizes(backend):
    plain, compiled = encoder(), Compiled(backend=backend)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    fast = FusedEncoder(plain, compile=True, compiled=compiled)
    for count in (1, 3, 4, 2, 5, 7):
        windows = features(count, count)
        assert torch.allclose(states(fast, windows), states(plain, windows), atol=1e-5)
    assert not compiled.layer.failed
    assert 1 <= torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3  # of 18 passes through a layer


def test_compiling_waits_until_it_is_worth_it_and_is_announced(caplog):
    caplog.set_level(logging.INFO)
    compiled = Compiled(after=5, backend="eager")
    fast = FusedEncoder(encoder(), compiled=compiled)
    states(fast, features(4, 0))
    assert not caplog.records
    states(fast, features(4, 0))
    states(fast, features(4, 0))
    (record,) = caplog.records  # of 6 passes through a layer
    assert re.fullmatch(r"an encoder layer compiled for \(4, 20, 16\) in [0-9.]+ s", record.message)


def test_where_nothing_can_be_compiled_it_says_so_once_and_encodes(caplog):
    def broken(graph, inputs):
        raise RuntimeError("no C compiler\nand more")

    plain, compiled = encoder(), Compiled(backend=broken)
    torch._dynamo.reset()
    fast = FusedEncoder(plain, compile=True, compiled=compiled)
    windows = features(2, 1)
    for _ in range(2):
        assert torch.allclose(states(fast, windows), states(plain, windows), atol=1e-5)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.message.startswith("an encoder layer runs uncompiled: ")


def test_on_a_cpu_the_encoder_is_the_packed_one():
    assert not isinstance(for_inference(encoder()), FusedEncoder)


def test_half_precision_does_not_overflow():
    plain = encoder().half()
    with torch.no_grad():
        plain.layers[1].fc2.bias.fill_(60000)
    fused = states(FusedEncoder(plain), features(1, 0).half())
    assert fused.isfinite().all()
