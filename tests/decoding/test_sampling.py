"""Sampled tokens follow the main's own distribution, drafted or not; fallback retries as Whisper defines it."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding.models import END, SIZE, cut, features, tiny_whisper
from tests.decoding.oracle import allowed, forced_prefix
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.rounds import Rounds
from whisper_pair.decoding.rows import compression_ratio
from whisper_pair.decoding.sampling import accept
from whisper_pair.decoding.tree import DraftTree

TREE = DraftTree.of([(0,), (1,), (2,), (0, 0), (0, 1), (1, 0), (0, 0, 0)])


def chi_square(counts: torch.Tensor, expected: torch.Tensor) -> tuple[float, int]:
    """The statistic and its degrees of freedom; outcomes expected fewer than 5 times are pooled."""
    rare = expected < 5
    counts = torch.cat([counts[~rare], counts[rare].sum()[None]])
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    kept = expected > 0
    return ((counts - expected)[kept].square() / expected[kept]).sum().item(), int(kept.sum()) - 1


def plausible(statistic: float, freedom: int) -> bool:
    """Below the 1 - 1e-5 quantile (Wilson and Hilferty's approximation)."""
    return statistic < freedom * (1 - 2 / (9 * freedom) + 4.265 * math.sqrt(2 / (9 * freedom))) ** 3


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), sharpness=st.floats(0.1, 3.0), offered=st.integers(0, 2))
def test_the_accept_rule_leaves_the_mains_distribution(seed, sharpness, offered):
    generator = torch.Generator().manual_seed(seed)
    count, size = 40_000, 6
    p = (torch.randn(3, size, generator=generator) * sharpness).softmax(-1)
    q = (torch.randn(2, size, generator=generator) * sharpness).softmax(-1)
    drafts = torch.stack([torch.multinomial(row, count, True, generator=generator) for row in q], 1)
    accepted, following = accept(
        p.expand(count, -1, -1), q.expand(count, -1, -1), drafts, torch.full((count,), offered), generator
    )
    assert accepted.max() <= offered
    first = torch.where(accepted > 0, drafts[:, 0], following)
    assert plausible(*chi_square(first.bincount(minlength=size).double(), p[0].double() * count))
    second = torch.where(accepted > 1, drafts[:, 1], following)[accepted >= 1]
    if len(second):
        assert plausible(*chi_square(second.bincount(minlength=size).double(), p[1].double() * len(second)))


@pytest.mark.parametrize("confidence", [None, 0.3])
@pytest.mark.parametrize("timestamps", [False, True])
def test_the_engine_samples_pairs_of_tokens_as_the_main_would(timestamps, confidence):
    """Chi-square over all pairs of first tokens, against the main's distribution computed by its plain forward."""
    main, temperature, count = tiny_whisper(4), 0.7, 6000
    window = features(1, 4)
    states = main.model.encoder(window).last_hidden_state

    @torch.no_grad()
    def distribution(decoded: list[int]) -> torch.Tensor:
        ids = torch.tensor([forced_prefix(None, timestamps) + decoded])
        logits = main(encoder_outputs=(states,), decoder_input_ids=ids).logits[0, -1]
        kept = torch.tensor(allowed(main, decoded, logits.tolist(), timestamps))
        mask = torch.full((SIZE,), -torch.inf).index_fill(0, kept, 0.0)
        return ((logits + mask) / temperature).softmax(-1).double()

    engine = Engine(main, cut(main))
    options = Options(
        language="nl",
        timestamps=timestamps,
        temperature=temperature,
        max_new_tokens=2,
        draft_tokens=2,
        batch_size=500,
        seed=1,
        confidence=confidence,
    )
    rows = engine.decode(encoder_states=states.expand(count, -1, -1).detach(), options=options)
    assert 0 < sum(row.accepted for row in rows) < sum(row.drafted for row in rows)
    counts, expected = torch.zeros(SIZE, SIZE).double(), torch.zeros(SIZE, SIZE).double()
    first = distribution([])
    for token in first.nonzero().flatten().tolist():
        expected[token] = first[token] * (distribution([token]) if token != END else first.eq(-1).double())
    for row in rows:
        counts[row.tokens[0], row.tokens[1]] += 1
    assert plausible(*chi_square(counts.flatten(), expected.flatten() * count))


def test_a_seed_repeats_a_sample_and_another_gives_another():
    main, windows = tiny_whisper(4), features(3, 4)
    engine = Engine(main, cut(main))

    def sample(seed):
        return engine.decode(windows, Options(language="nl", temperature=1.0, seed=seed, draft_tokens=3))

    assert sample(1) == sample(1)
    tree = Options(language="nl", temperature=1.0, seed=1, draft_tokens=TREE)
    assert engine.decode(windows, tree) == sample(1)  # drafted as the chain of its depth
    assert [row.tokens for row in sample(1)] != [row.tokens for row in sample(2)]


@pytest.mark.parametrize("draft_tokens", [0, 3, TREE])
def test_log_probabilities_and_no_speech_are_the_mains_own(draft_tokens, monkeypatch):
    """Out of the greedy round, which is captured where there are CUDA graphs."""
    monkeypatch.setattr(Rounds, "with_probabilities", None)
    main, windows = tiny_whisper(4), features(4, 4)
    options = Options(
        language="nl", log_probability_threshold=-math.inf, no_speech_threshold=2.0, draft_tokens=draft_tokens,
        timestamps=True,
    )  # fmt: skip
    for window, row in zip(windows, Engine(main, cut(main)).decode(windows, options), strict=True):
        with torch.no_grad():
            fed = torch.tensor([row.prompt + row.tokens])
            logits = main(window[None], decoder_input_ids=fed).logits[0]
        total = 0.0
        for place, token in enumerate(row.tokens):
            scores = logits[len(row.prompt) - 1 + place]
            kept = allowed(main, row.tokens[:place], scores.tolist(), timestamps=True)
            total += (scores[token] - scores[kept].logsumexp(0)).item()
        assert row.mean_log_probability == pytest.approx(total / len(row.tokens), abs=1e-4)
        start = row.prompt.index(101)
        assert row.no_speech_probability == pytest.approx(logits[start].softmax(-1)[108].item(), abs=1e-5)
        assert not row.silent


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("timestamps", [False, True])
def test_the_greedy_round_gives_the_log_probabilities_of_the_careful_one(dtype, timestamps):
    """The careful one is taken where a confidence is asked for; at 0 it changes nothing else."""
    main, windows = tiny_whisper(4).to(dtype), features(9, 4)
    engine = Engine(main, cut(main).to(dtype))
    requested = {"language": "nl", "timestamps": timestamps, "log_probabilities": True, "batch_size": 4}
    for draft_tokens in (0, 3):
        options = Options(draft_tokens=draft_tokens, **requested)
        greedy = engine.decode(windows, options)
        careful = engine.decode(windows, replace(options, confidence=0.0))
        assert [row.tokens for row in greedy] == [row.tokens for row in careful]
        assert [row.mean_log_probability for row in greedy] == [row.mean_log_probability for row in careful]


def test_fallback_retries_only_the_rows_that_miss_a_threshold():
    main, windows = tiny_whisper(4), features(9, 4)
    engine = Engine(main, cut(main))
    plain = engine.decode(windows, Options(language="nl", log_probabilities=True))
    means = sorted({round(row.mean_log_probability, 4) for row in plain})
    middle = sum(means[len(means) // 2 - 1 : len(means) // 2 + 1]) / 2
    options = Options(language="nl", temperature=(0.0, 0.6), log_probability_threshold=middle, seed=0, batch_size=2)
    for before, after in zip(plain, engine.decode(windows, options), strict=True):
        if before.mean_log_probability >= middle:
            assert (after.temperature, after.tokens) == (0.0, before.tokens)
        else:
            assert after.temperature == 0.6


def test_fallback_on_repetition_uses_the_compression_of_the_tokens():
    main, windows = tiny_whisper(1), features(6, 1)
    engine = Engine(main, cut(main))
    plain = engine.decode(windows, Options(language="nl"))
    ratios = [compression_ratio(row.tokens, SIZE) for row in plain]
    threshold = sum(sorted(set(ratios))[:2]) / 2
    options = Options(language="nl", temperature=(0.0, 1.0), compression_ratio_threshold=threshold, seed=0)
    tried = [row.temperature for row in engine.decode(windows, options)]
    assert tried == [1.0 if ratio > threshold else 0.0 for ratio in ratios]
    assert 0 < sum(tried) < 6


def test_silence_is_reported_and_not_retried():
    main, windows = tiny_whisper(4), features(4, 4)
    options = Options(
        language="nl", temperature=(0.0, 1.0), log_probability_threshold=0.0, no_speech_threshold=-1.0, draft_tokens=2
    )
    rows = Engine(main, cut(main)).decode(windows, options)
    assert all(row.silent and row.temperature == 0.0 for row in rows)
