"""The rules, vectorised, allow what transformers' processors allow, one token at a time or a whole row at once."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)

from tests.decoding.models import END, FIRST_TIMESTAMP, NO_SPEECH, SIZE, tiny_whisper
from whisper_pair.decoding.logits_rules import LogitsRules
from whisper_pair.decoding.special_tokens import SpecialTokens

PREFIX = [101, FIRST_TIMESTAMP + 3, 102]  # a timestamp of an earlier text is none of this one's


def processed(model, ids, scores, timestamps):
    """What transformers makes of scores [1, SIZE] after ids, in generate's own order."""
    settings = model.generation_config
    chain = [
        SuppressTokensAtBeginLogitsProcessor(settings.begin_suppress_tokens, begin_index=len(PREFIX)),
        SuppressTokensLogitsProcessor(settings.suppress_tokens),
    ]
    if timestamps:
        chain.append(WhisperTimeStampLogitsProcessor(settings, begin_index=len(PREFIX)))
    for processor in chain:
        scores = processor(torch.tensor([ids]), scores)
    return scores


def decoded_lists():
    token = st.one_of(st.integers(0, 99), st.integers(FIRST_TIMESTAMP, SIZE - 1))
    return st.lists(token, max_size=8).map(with_timestamps_in_order)


def with_timestamps_in_order(tokens):
    stamps = iter(sorted(token for token in tokens if token >= FIRST_TIMESTAMP))
    return [next(stamps) if token >= FIRST_TIMESTAMP else token for token in tokens]


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(decoded_lists(), min_size=1, max_size=4),
    timestamps=st.booleans(),
    initial=st.sampled_from([None, 0, 5]),
    lean=st.sampled_from([-3.0, 0.0, 3.0]),
    seed=st.integers(0, 10**6),
    sliced=st.booleans(),
)
def test_every_position_of_every_row_obeys_as_in_transformers(rows, timestamps, initial, lean, seed, sliced):
    model = tiny_whisper(0, layers=1, max_initial_timestamp=initial)
    generator = torch.Generator().manual_seed(seed)
    vocabulary = None
    if sliced:
        vocabulary = (torch.rand(SIZE, generator=generator) < 0.5).nonzero().flatten()
        vocabulary = torch.cat([vocabulary, torch.tensor([0, END, NO_SPEECH])]).unique()
        vocabulary = vocabulary if timestamps else vocabulary[vocabulary < FIRST_TIMESTAMP]
    rules = LogitsRules(SpecialTokens.of(model), timestamps, vocabulary, torch.device("cpu"))
    length = max(map(len, rows)) + 1
    fed = torch.tensor([(PREFIX + row + [0] * length)[: len(PREFIX) - 1 + length] for row in rows])
    history = rules.history(fed[:, 1:], torch.zeros(len(rows), 1, dtype=torch.long), torch.full((len(rows), 1), -1))
    logits = torch.randn(len(rows), length, SIZE, generator=generator)
    logits[..., FIRST_TIMESTAMP:] += lean
    outside = torch.ones(SIZE, dtype=torch.bool)
    outside[slice(None) if vocabulary is None else vocabulary] = False
    kept = logits if vocabulary is None else logits[..., vocabulary]
    masked = rules.mask(kept + rules.bias, history)
    chosen = rules.choose(kept + rules.bias, history)
    several = rules.choose_several(kept + rules.bias, history, 3)
    for index, row in enumerate(rows):
        for place in range(len(row) + 1):
            ids = PREFIX + row[:place]
            expected = processed(
                model, ids, logits[index, place : place + 1].masked_fill(outside, -torch.inf), timestamps
            )
            expected = expected[0] if vocabulary is None else expected[0, vocabulary]
            if expected.isneginf().all():
                continue  # the slice holds no allowed token: whatever is proposed, the main refuses it
            assert torch.equal(masked[index, place], expected)
            best = expected.argmax() if vocabulary is None else vocabulary[expected.argmax()]
            assert chosen[index, place] == best
            order = expected.sort(descending=True).indices[: min(3, int(expected.isfinite().sum()))]
            order = order if vocabulary is None else vocabulary[order]
            assert torch.equal(several[index, place, : len(order)], order)
            # and a step that knows only the last two tokens, the count and the last timestamp says the same
            stamps = [token for token in row[:place] if token >= FIRST_TIMESTAMP]
            step = rules.history(
                torch.tensor([ids[-2:]]), torch.tensor([[place]]), torch.tensor([[stamps[-1] if stamps else -1]])
            )
            assert rules.choose((kept + rules.bias)[index, place][None, None], step) == best
