"""The Triton kernels against their plain twins, interpreted on a CPU: run by test_kernels.py, in a process of its own.

Not in bfloat16, of which numpy, and so the interpreter, knows no product.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding.models import cut, features, tiny_whisper
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.kernels import attention, linear
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.tree import DraftTree

TREE = DraftTree.of([(0,), (1,), (2,), (0, 0), (0, 1), (1, 0), (0, 0, 0)])
CLOSE = {torch.float32: 1e-5, torch.float16: 5e-3}


def values(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@settings(deadline=None, max_examples=12)
@given(
    tokens=st.sampled_from([1, 2, 9, 17, 33]),
    inputs=st.sampled_from([16, 64, 200]),
    outputs=st.sampled_from([16, 48, 70]),
    norm=st.booleans(),
    gelu=st.booleans(),
    residual=st.booleans(),
    dtype=st.sampled_from(list(CLOSE)),
)
def test_a_linear_map_with_all_around_it_is_its_plain_twin(tokens, inputs, outputs, norm, gelu, residual, dtype):
    x = 3 + values(tokens, inputs, dtype=dtype)  # a mean far from zero
    weight, bias = (values(outputs, inputs) / inputs**0.5).to(dtype), values(outputs, dtype=dtype)
    about = (1 + 0.1 * values(inputs, dtype=dtype), 0.1 * values(inputs, dtype=dtype)) if norm else None
    added = values(tokens, outputs, dtype=dtype) if residual else None
    found = linear.linear(x, weight, bias, about, gelu, added)
    expected = linear.plain_linear(x, weight, bias, about, gelu, added)
    assert torch.allclose(found, expected, atol=4 * CLOSE[dtype], rtol=CLOSE[dtype])


@settings(deadline=None, max_examples=12)
@given(
    batch=st.sampled_from([1, 3]),
    queries=st.sampled_from([1, 2, 9, 17]),
    heads=st.sampled_from([1, 2]),
    width=st.sampled_from([8, 64]),
    keys=st.sampled_from([17, 64, 150]),
    split=st.sampled_from([None, 64, 100]),
    masked=st.booleans(),
    dtype=st.sampled_from(list(CLOSE)),
)
def test_attention_is_its_plain_twin(batch, queries, heads, width, keys, split, masked, dtype):
    query = values(batch, queries, heads, width, dtype=dtype)
    key, value = values(2, batch, keys, heads, width, dtype=dtype).unbind(0)
    mask = lengths = None
    if masked:  # every row's queries see one key more each, up to its own length
        lengths = torch.tensor([queries, keys, keys // 2 + queries][:batch]).clamp(max=keys)
        last = lengths[:, None] - queries + torch.arange(queries)
        ahead = torch.arange(keys) > last[..., None]
        mask = torch.zeros(batch, queries, keys, dtype=dtype).masked_fill(ahead, -torch.inf)
        for row, length in enumerate(lengths.tolist()):  # what is past a row's length is not even read
            key[row, length:] = value[row, length:] = torch.nan
    found = attention.attention(query, key, value, mask, lengths, split)
    expected = attention.plain_attention(query, key.nan_to_num(), value.nan_to_num(), mask)
    assert torch.allclose(found, expected, atol=4 * CLOSE[dtype], rtol=CLOSE[dtype])


@pytest.mark.parametrize("draft_tokens", [0, 3, TREE], ids=["plain", "chain", "tree"])
def test_a_decoder_of_kernels_says_the_same(draft_tokens):
    main = tiny_whisper(4)
    windows = [window[:, : 2 * frames] for window, frames in zip(features(4, 4), (20, 7, 20, 12), strict=True)]
    options = Options(language="nl", batch_size=3, draft_tokens=draft_tokens, max_new_tokens=12)
    expected = [row.tokens for row in Engine(main).decode(windows, options)]
    engine = Engine(main, cut(main), graphs=False, kernels=True)
    engine.bucketed = True
    assert [row.tokens for row in engine.decode(windows, options)] == expected
