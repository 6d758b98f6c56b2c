"""Rows whose windows are of unequal length: each row's tokens are those of its own window decoded alone."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding.models import (
    ALWAYS,
    FRAMES,
    NEVER,
    ONCE_READ,
    cut,
    features,
    packing,
    tiny_whisper,
    trees,
    with_own_encoder,
)
from tests.decoding.oracle import encoded, greedy
from tests.decoding.test_graphs import recorded
from whisper_pair.decoding import Engine, Options, Times, coarse, encode
from whisper_pair.decoding.kv_cache import Keys, KVCache
from whisper_pair.decoding.tree import DraftTree

TREE = DraftTree.of([(0,), (1,), (2,), (0, 0), (0, 1), (1, 0), (0, 0, 0)])
LENGTHS = [20, 3, 11, 3, 20, 7, 1, 16, 8]


@cache
def model(seed):
    return tiny_whisper(seed)


@cache
def plain(seed, window, frames, prompt, timestamps, limit=None):
    return greedy(model(seed), features(9, seed)[window, :, : 2 * frames], list(prompt), timestamps, limit)


def windows(seed=4, lengths=LENGTHS):
    return [window[:, : 2 * frames] for window, frames in zip(features(9, seed), lengths, strict=True)]


def tokens_of(engine, given, prompts=None, **options):
    return [row.tokens for row in engine.decode(given, Options(**{"language": "nl"} | options), prompts)]


def expected(seed=4, lengths=LENGTHS, timestamps=False):
    return [plain(seed, window, frames, (), timestamps) for window, frames in enumerate(lengths)]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.sampled_from([0, 4]),
    draft=st.sampled_from(["own encoder", "all layers", "one layer"]),
    timestamps=st.booleans(),
    batch_size=st.integers(1, 6),
    draft_tokens=st.integers(0, 9) | trees(),
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, FRAMES), st.sampled_from([(), (7, 8, 9), tuple(range(20))])),
        min_size=1,
        max_size=7,
    ),
    drawn=st.booleans(),
    packed=st.booleans(),
    ahead=st.sampled_from([NEVER, ONCE_READ, ALWAYS]),
)
def test_rows_equal_a_plain_loop_over_each_window_alone(
    seed, draft, timestamps, batch_size, draft_tokens, rows, drawn, packed, ahead
):
    main = model(seed)
    with packing(packed):
        engine = Engine(main, with_own_encoder(main, 0.05) if draft == "own encoder" else
                        cut(main, 1 if draft == "one layer" else None))  # fmt: skip
    engine.ahead = ahead
    given = [features(9, seed)[window, :, : 2 * frames] for window, frames, _ in rows]
    found = tokens_of(
        engine,
        iter(given) if drawn else given,
        [prompt for *_, prompt in rows],
        timestamps=timestamps,
        batch_size=batch_size,
        draft_tokens=draft_tokens,
        max_new_tokens=9,
    )
    assert found == [plain(seed, *row, timestamps, 9) for row in rows]


def test_the_length_of_a_window_changes_what_is_decoded():
    found = tokens_of(Engine(model(4)), [features(1, 4)[0, :, : 2 * frames] for frames in (4, 12, FRAMES)])
    assert len({*map(tuple, found)}) == 3


@pytest.mark.parametrize("drafts", [0, 3, TREE, "auto"])
def test_states_of_unequal_windows_may_be_given_instead_of_features(drafts):
    main, given = model(4), windows()
    with torch.no_grad():
        states = [encoded(main, window)[0] for window in given]
    found = Engine(main, cut(main)).decode(
        encoder_states=states, options=Options(language="nl", batch_size=4, draft_tokens=drafts)
    )
    assert [row.tokens for row in found] == expected()


def test_log_probabilities_no_speech_and_detected_languages_are_those_of_each_window_alone():
    main = model(4)
    engine = Engine(main, cut(main))
    asked = Options(
        batch_size=5, draft_tokens=3, log_probabilities=True, no_speech_threshold=0.5, log_probability_threshold=-1e9
    )
    for row, window in zip(engine.decode(windows(), asked), windows(), strict=True):
        (alone,) = Engine(main, cut(main)).decode([window], asked)
        assert (row.tokens, row.language) == (alone.tokens, alone.language)
        assert row.mean_log_probability == pytest.approx(alone.mean_log_probability, abs=1e-5)
        assert row.no_speech_probability == pytest.approx(alone.no_speech_probability, abs=1e-5)


def test_a_second_try_is_over_the_same_window():
    engine = Engine(model(4), cut(model(4)))
    tries = {"temperature": (0.0, 1e-3), "log_probability_threshold": 1.0}  # so cold that it is greedy, too
    assert tokens_of(engine, windows(), batch_size=4, **tries) == expected()


@pytest.mark.parametrize("own_encoder", [False, True])
def test_ranks_and_choices_along_given_tokens_are_those_of_each_window_alone(own_encoder):
    main = model(4)
    draft = with_own_encoder(main, 0.1) if own_encoder else cut(main)
    engine, options, tokens = Engine(main, draft), Options(language="nl"), expected()
    encoder = draft.model.encoder if own_encoder else main.model.encoder
    states = [encode(encoder, window[None])[0] for window in windows()]
    choices, ranks = engine.choices(states, tokens, options), engine.ranks(states, tokens, options)
    for at, (its, text) in enumerate(zip(states, tokens, strict=True)):
        assert [choices[at], ranks[at]] == [
            *engine.choices([its], [text], options), *engine.ranks([its], [text], options)
        ]  # fmt: skip
    mains = [encode(main.model.encoder, window[None])[0] for window in windows()]
    assert engine.choices(mains, tokens, options, of_main=True) == tokens  # the tokens are its own


def frames_attended_to(engine, monkeypatch):
    """Of each forward: encoder frames, and whether some are hidden from some row."""
    found = []

    def layer(x, weights, *given, run=engine.main.run_layer):
        keys, _, bias = given[-1]
        found.append((keys.shape[2], bias is not None))
        return run(x, weights, *given)

    monkeypatch.setattr(engine.main, "run_layer", layer)
    return found


def test_full_windows_are_decoded_without_a_mask_and_short_ones_over_their_own_frames(monkeypatch):
    engine = Engine(model(4))
    seen = frames_attended_to(engine, monkeypatch)
    tokens_of(engine, features(3, 4), batch_size=3)
    assert {*seen} == {(FRAMES, False)}
    seen.clear()
    tokens_of(engine, features(3, 4)[..., :12], batch_size=3)
    assert {*seen} == {(6, False)}
    seen.clear()
    tokens_of(engine, [features(1, 4)[0], features(1, 4)[0, :, :12]], batch_size=1)
    assert {*seen} == {(FRAMES, False), (6, False)}
    seen.clear()
    tokens_of(engine, windows(), batch_size=9)
    assert (FRAMES, True) in seen
    assert {frames for frames, _ in seen} <= {*LENGTHS}


def test_caches_are_as_long_as_the_longest_window_and_grow_within_a_call(monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.short_windows.FRAME_BUCKET", 4)
    main = model(4)
    engine = Engine(main, cut(main))
    lengths = [3, 3, 7, 5, 1, 11, 2, 11, 1]  # the caches are wider from the third window on, and from the sixth

    def frames():
        return [cache.frames for cache in (engine.caches._main_cache, engine.caches._draft_cache)]

    drawn = []
    for window in (iter(windows(lengths=lengths)), windows(lengths=lengths)):
        options = Options(language="nl", batch_size=2, draft_tokens=2)
        found = engine.decode(window, options, on_round=lambda *_: drawn.append(max(frames())))
        assert [row.tokens for row in found] == expected(lengths=lengths)
    assert frames() == [12, 12]
    assert {4, 8, 12} == {*drawn}
    whole = Engine(main, cut(main))
    whole.decode(features(2, 4), Options(language="nl", batch_size=2))
    assert engine.caches.bytes < whole.caches.bytes
    for each, longest in ((engine, 11), (whole, FRAMES)):  # as was said beforehand
        assert Engine(main, cut(main)).caches.needed(2, longest) == each.caches.bytes


def test_engines_of_one_main_follow_when_one_of_them_widens_the_shared_cache(monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.short_windows.FRAME_BUCKET", 4)
    main = model(4)
    one = recorded(main, cut(main))
    other = recorded(main, cut(main, 1), like=one)
    for engine, lengths in ((one, [3] * 9), (other, [7] * 9), (one, [3] * 9), (one, LENGTHS), (other, LENGTHS)):
        found = tokens_of(engine, windows(lengths=lengths), batch_size=2, draft_tokens=2)
        assert found == expected(lengths=lengths)


@pytest.mark.parametrize("asked", [{}, {"draft_tokens": TREE}, {"confidence": 0.4}, {"timestamps": True}], ids=str)
def test_replayed_rounds_of_unequal_windows_equal_a_plain_loop(asked, monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.short_windows.FRAME_BUCKET", 8)
    main = model(4)
    engine = recorded(main, cut(main))
    for batch_size in (1, 3):
        found = tokens_of(engine, windows(), **{"batch_size": batch_size, "draft_tokens": 3} | asked)
        assert found == expected(timestamps=asked.get("timestamps", False))
        captured = len(engine.graphs.recorders)
    tokens_of(engine, windows(), **{"batch_size": 3, "draft_tokens": 3} | asked)
    assert len(engine.graphs.recorders) == captured  # nothing is captured twice
    keys = [key[-1] if isinstance(key[-1], Keys) else key[-1].keys for key in engine.graphs._captured]
    assert {8, 16, 20} >= {each.frames for each in keys}  # a graph for each bucket, not for each length


def test_what_rounds_cost_is_learnt_by_the_length_of_windows(monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.short_windows.FRAME_BUCKET", 4)
    main = model(4)
    engine = Engine(main, cut(main))
    for lengths in ([3] * 9, [7] * 9, [20] * 9):
        tokens_of(engine, [*windows(lengths=lengths)] * 5, batch_size=2)
    assert {4, 8, None} == {frames for _, _, frames in {**engine.round_times.known, **engine.round_times._begun}}
    assert engine.costs(2, frames=6).rounds.keys() == engine.costs(2).rounds.keys()
    assert {(2, False, 8), (2, False, None)} <= engine.round_times.known.keys()
    engine.measure_rounds(Options(language="nl", batch_size=4), frames=4)
    assert {(1, False, 4), (4, False, 4)} <= engine.round_times.known.keys()


DEAR = Times({0: 1.0, 1: 1.0, 2: 1.0, 4: 1.0})  # a plain step over a full window: drafts come for nothing
CHEAP = Times({0: 0.1, 1: 1.0, 2: 1.0, 4: 1.0})  # over a short one: no draft that is right makes up for its own cost


@pytest.mark.parametrize("frames", [3, 7, 17, 19])
def test_short_windows_are_drafted_for_by_their_own_costs_and_not_by_those_of_full_ones(frames, monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.short_windows.FRAME_BUCKET", 4)
    main, full, short = model(4), features(1, 4)[0], features(1, 4)[0, :, : 2 * frames]
    engine = Engine(main, cut(main))  # all layers: its drafts are right
    engine.round_times.learn(1, False, DEAR)
    assert engine.round_times.taken(1, False, coarse(frames, FRAMES)) is None  # not known yet
    engine.round_times.learn(1, False, CHEAP, coarse(frames, FRAMES))
    drafted = [0, 0, 0]

    def count(window, step):
        drafted[window] += len(step.drafted)

    found = engine.decode([full, short, full], Options(language="nl", batch_size=1), on_round=count)
    assert [row.tokens for row in found] == [plain(4, 0, n, (), False) for n in (FRAMES, frames, FRAMES)]
    assert [count > 0 for count in drafted] == [True, False, True]
    engine.costs(1, frames=frames)
    assert engine.round_times.known[1, False, None] == DEAR


def test_a_wider_cache_keeps_the_rows_in_use():
    decoder = Engine(model(0)).main
    held = KVCache(decoder, capacity=3, frames=4)
    held.cross[:] = torch.randn(held.cross.shape)
    held.hold([2, 4], 0)
    before = [[each.clone() for each in views] for views in held.cross_views(2)]
    held.widen(9, used=2)
    assert held.frames == 9
    assert held.lengths == [2, 4, 9]
    for old, new in zip(before, held.cross_views(2), strict=True):
        assert all(map(torch.equal, old, new))
    wide = held.cross_views(2, keys=Keys(0, 9, masked=True))[0][2]
    assert wide[:, 0, 0].isinf().tolist() == [[False] * 2 + [True] * 7, [False] * 4 + [True] * 5]
    held.move(0, 2)
    assert held.lengths == [2, 4, 2]
    assert torch.equal(held.bias[2], held.bias[0])
    held.hold([9], 0)
    assert not held.bias[0].isinf().any()
