"""An engine that holds copies of weights refuses to decode once they have changed, however they were changed."""

import copy
import gc
import weakref

import pytest
import torch

from tests.decoding.models import cut, features, tiny_whisper
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.weight_guard import SAMPLED, WeightGuard, sample
from whisper_pair.errors import InputError

DUTCH = Options(language="nl", max_new_tokens=4)


def part(model, name: str) -> torch.nn.Parameter:
    return dict(model.named_parameters())[name]


@pytest.mark.parametrize(
    "name",
    [
        "model.encoder.conv1.weight",
        "model.encoder.layers.0.self_attn.q_proj.weight",
        "model.encoder.layer_norm.bias",
        "model.decoder.embed_tokens.weight",
        "model.decoder.embed_positions.weight",
        "model.decoder.layers.1.encoder_attn.v_proj.weight",
        "model.decoder.layers.1.fc1.bias",
        "model.decoder.layer_norm.weight",
    ],
)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda weight: weight.data.mul_(1.001), id="in place by .data"),
        pytest.param(lambda weight: weight.data.numpy().__imul__(1.001), id="through a NumPy view"),
        pytest.param(lambda weight: setattr(weight, "data", weight.data * 1.001), id="another storage"),
        pytest.param(lambda weight: setattr(weight, "data", weight.data.half()), id="another type"),
        pytest.param(lambda weight: weight.detach().neg_(), id="in place"),
    ],
)
def test_any_parameter_that_changes_is_noticed(name, change):
    main = tiny_whisper()
    engine = Engine(main)
    engine.decode(features(1), DUTCH)
    change(part(main, name))
    with pytest.raises(InputError, match="changed since this Engine was built"):
        engine.decode(features(1), DUTCH)


def test_a_parameter_or_a_layer_that_is_replaced_is_noticed():
    for replace in (
        lambda layer: setattr(layer.fc1, "bias", torch.nn.Parameter(layer.fc1.bias.detach().clone() + 1)),
        lambda layer: setattr(layer, "fc1", copy.deepcopy(layer.fc1)),
        lambda layer: setattr(layer.fc1, "bias", None),
        lambda layer: setattr(layer.self_attn.k_proj, "bias", torch.nn.Parameter(torch.ones(16))),
        lambda layer: setattr(layer, "fc1", torch.nn.Sequential(layer.fc1)),  # as adapters wrap a layer
    ):
        main = tiny_whisper()
        sources = WeightGuard(main)
        sources.check()
        replace(main.model.decoder.layers[0])
        with pytest.raises(InputError, match="build it again"):
            sources.check()


def test_an_optimizer_step_on_the_assistant_is_noticed_and_a_new_engine_decodes():
    main = tiny_whisper()
    draft = cut(main)
    engine = Engine(main, draft)
    for weight in draft.parameters():
        weight.grad = torch.ones_like(weight)
    torch.optim.AdamW(draft.parameters(), lr=1e-6).step()
    with pytest.raises(InputError, match="changed since"):
        engine.choices(torch.zeros(1, 20, 16), [[1]], DUTCH)
    assert Engine(main, draft).decode(features(1), DUTCH)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_half_precision_step_that_moves_few_values_is_noticed(dtype):
    main = tiny_whisper(width=64).to(dtype)
    sources = WeightGuard(main)
    generator = torch.Generator().manual_seed(0)
    for weight in main.parameters():
        moved = torch.rand(weight.shape, generator=generator) < 0.01
        weight.data[moved] *= 1.1
    with pytest.raises(InputError, match="changed since"):
        sources.check()


def test_weights_that_stay_are_never_taken_for_changed():
    main = tiny_whisper()
    part(main, "model.decoder.layers.0.fc1.weight").data[0, 0] = float("nan")  # which equals nothing, not even itself
    draft = cut(main)
    sources = WeightGuard(main, draft)
    main.train()
    main.requires_grad_(False)
    main.zero_grad()
    main.model.decoder(torch.tensor([[1]]), encoder_hidden_states=torch.zeros(1, 20, 16))
    sources.check()


def test_a_model_that_is_gone_is_not_kept_and_the_other_is_still_looked_after():
    main = tiny_whisper()
    draft = cut(main)
    sources, gone = WeightGuard(main, draft), weakref.ref(draft)
    del draft
    gc.collect()
    assert gone() is None
    sources.check()
    sources.check()
    part(main, "model.decoder.layers.0.fc1.bias").data += 1
    with pytest.raises(InputError, match="changed since"):
        sources.check()


def test_a_sample_is_small_and_spread_over_many_rows_and_columns():
    for shape in ((1280, 1280), (5120, 1280), (1280, 5120), (51866, 1280), (384, 80, 3), (512, 512)):
        numbers = sample(torch.arange(torch.Size(shape).numel()).view(shape))
        width = torch.Size(shape[1:]).numel()
        assert SAMPLED <= len(numbers) <= 1.1 * SAMPLED
        for part in (numbers // width, numbers % width):
            assert len(part.unique()) > SAMPLED // 2
    assert len(sample(torch.zeros(3, 4))) == 12
    assert len(sample(torch.zeros(5000))) == 5000
