"""Packed linear maps against PyTorch's own, and twins of modules against the modules."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding.models import features, packing, tiny_whisper
from whisper_pair.decoding.linear import WORTH, Packed, activated, linear, packed, unpacked, with_packed_linears


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 70), inner=st.integers(1, 300), outer=st.integers(1, 700), biased=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_packed_map_is_the_map(rows, inner, outer, biased, seed):
    generator = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(rows, inner, generator=generator), torch.randn(outer, inner, generator=generator)
    bias = torch.randn(outer, generator=generator) if biased else None
    with packing():
        found = linear(x[None], packed(weight), bias)
    wanted = F.linear(x[None].double(), weight.double(), None if bias is None else bias.double())
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted.float(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 40])
def test_an_activation_is_applied(rows):
    x, weight, bias = torch.randn(rows, 64), torch.randn(300, 64), torch.randn(300)
    for activation in (F.gelu, F.relu):
        found = activated(activation, x, packed(weight), bias)
        torch.testing.assert_close(found, activation(F.linear(x, weight, bias)), atol=1e-4, rtol=1e-4)


def test_suppressed_tokens_stay_suppressed():
    weight, bias = torch.randn(1000, 64), torch.zeros(1000)
    bias[7] = bias[999] = -torch.inf
    logits = linear(torch.randn(2, 5, 64), packed(weight), bias)
    assert logits.isneginf().sum() == 20
    assert logits[..., [7, 999]].isneginf().all()


def test_a_weight_is_packed_when_that_is_worth_it_and_not_before():
    weight = packed(torch.randn(64, 64))
    assert isinstance(weight, Packed)
    linear(torch.randn(WORTH // 64**2 - 1, 64), weight)
    assert "blocks" not in vars(weight)
    linear(torch.randn(WORTH // 64**2, 64), weight)
    assert "blocks" in vars(weight)


def test_other_types_stay_as_they_are():
    half = torch.randn(8, 8, dtype=torch.float16)
    assert packed(half) is half is unpacked(half)
    assert torch.equal(linear(half, packed(half)), F.linear(half, half))


@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bf16 on this CPU")
@pytest.mark.parametrize("gelu", [False, True])
def test_bfloat16_is_packed_too_and_gives_the_same_but_for_rounding(gelu):
    x, weight, bias = (torch.randn(*shape).bfloat16() for shape in ((3, 5, 256), (512, 256), (512,)))
    bias[7] = bias[7] if gelu else -torch.inf  # as of a token that never comes
    found = packed(weight).linear(x, bias, gelu)
    expected = F.linear(x.float(), weight.float(), bias.float())
    expected = F.gelu(expected) if gelu else expected
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=1e-2)


def test_a_twin_shares_its_weights_and_has_no_mode_of_its_own():
    encoder = tiny_whisper().model.encoder.train()
    found = with_packed_linears(encoder)
    assert encoder.training
    assert not found.training
    for own, shared in zip(encoder.parameters(), found.parameters(), strict=True):
        assert own is shared
    with torch.no_grad():
        states = found(features(3)).last_hidden_state
        assert torch.equal(states, found(features(3)).last_hidden_state)  # no dropout
        encoder.eval()
        torch.testing.assert_close(states, encoder(features(3)).last_hidden_state, atol=1e-5, rtol=1e-5)


def test_under_autocast_a_twin_computes_as_autocast_would():
    encoder = tiny_whisper().model.encoder.eval()
    with packing(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(
            with_packed_linears(encoder)(features(2)).last_hidden_state, encoder(features(2)).last_hidden_state
        )
