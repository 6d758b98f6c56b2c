"""What the engine counts while decoding is what one parallel pass of the draft foretells, for every draft length."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding.models import END, cut, features, random_tree, tiny_whisper
from whisper_pair.decoding.acceptance import (
    TokenMatches,
    TokenRanks,
    acceptances,
    accepted_per_round,
    accepted_per_tree,
    agreement,
    pooled,
)
from whisper_pair.decoding.best_tree import best_tree, grown_trees, rate
from whisper_pair.decoding.draft_length import predicted_speedup
from whisper_pair.decoding.encoders import encode
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.tree import DraftTree
from whisper_pair.errors import InputError


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("max_new_tokens", [None, 13])
def test_counters_equal_the_offline_replay(timestamps, max_new_tokens):
    drafted = wrong_ends = 0
    for seed, noise in ((0, 0.05), (3, 0.05), (4, 0.2)):
        main, windows = tiny_whisper(seed, end=4.0), features(12, seed)
        engine = Engine(main, cut(main, noise=noise))
        states = encode(main.model.encoder, windows)
        for draft_tokens in (1, 2, 3, 7, 12):
            options = Options(
                language="nl", timestamps=timestamps, max_new_tokens=max_new_tokens, draft_tokens=draft_tokens
            )
            rows = engine.decode(windows, options)
            matches = engine.agreement(states, [row.tokens for row in rows], options)
            for row, match in zip(rows, matches, strict=True):
                online = list(zip(row.drafted_per_round, row.accepted_per_round, strict=True))
                assert online == accepted_per_round(match, draft_tokens)
                wrong_ends += any(ends and not agrees for ends, agrees in zip(match.ends, match.agrees, strict=True))
            offline = acceptances(matches, [draft_tokens])[draft_tokens]
            assert (offline.rounds, offline.drafted, offline.accepted) == (
                sum(row.rounds for row in rows),
                sum(row.drafted for row in rows),
                sum(row.accepted for row in rows),
            )
            drafted += offline.drafted
    assert drafted > 1000
    assert wrong_ends > 0  # the case in which agreement alone would not tell what was drafted


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("max_new_tokens", [None, 13])
def test_counters_over_trees_equal_the_offline_replay(timestamps, max_new_tokens):
    branched = ends = 0
    drawn = random.Random(0)
    for seed, noise, kept in ((0, 0.05, None), (3, 0.05, None), (4, 0.3, slice(None, None, 3))):
        main, windows = tiny_whisper(seed, end=4.0), features(12, seed)
        vocabulary = None if kept is None else torch.arange(100)[kept]
        engine = Engine(main, cut(main, noise=noise), vocabulary)
        states = encode(main.model.encoder, windows)
        for nodes, depth in ((3, 1), (8, 3), (32, 8), (32, 4)):
            tree = random_tree(drawn, nodes, depth, width=3)
            options = Options(language="nl", timestamps=timestamps, max_new_tokens=max_new_tokens, draft_tokens=tree)
            rows = engine.decode(windows, options)
            tokens = [row.tokens for row in rows]
            found = engine.ranks(states, tokens, options)
            assert [each.matches for each in found] == engine.agreement(states, tokens, options)
            assert [list(each.choices) for each in found] == engine.choices(states, tokens, options)
            for row, ranks in zip(rows, found, strict=True):
                online = list(zip(row.drafted_per_round, row.accepted_per_round, strict=True))
                assert online == accepted_per_tree(ranks, tree)
                branched += any(0 < rank < 3 for rank in ranks.ranks)
                ends += any(drafts < len(tree) for drafts in row.drafted_per_round[:-1])
    assert branched > 50
    assert ends > 5


@settings(deadline=None, max_examples=100)
@given(data=st.data(), length=st.integers(0, 8))
def test_a_chain_is_the_simplest_tree(data, length):
    ranks = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=20))
    end_ranks = tuple(data.draw(st.sampled_from([0, 1, 9])) if rank else 9 for rank in ranks)
    finished = data.draw(st.booleans())
    if finished:
        end_ranks = (*end_ranks[:-1], ranks[-1])
    found = TokenRanks(tuple(ranks), end_ranks, finished, len(ranks) + (3 if finished else 0))
    assert accepted_per_tree(found, DraftTree.chain(length)) == accepted_per_round(found.matches, length)


def test_the_best_tree_is_no_worse_than_any_chain_and_wins_what_it_promises_on_like_speech():
    chance = random.Random(0)

    def utterance():
        ranks = tuple(chance.choices([0, 1, 2, 3, 50], [0.58, 0.12, 0.05, 0.03, 0.22], k=40))
        return TokenRanks(ranks, (99,) * 40, False, 40)

    chosen_on, scored_on = ([utterance() for _ in range(150)] for _ in range(2))

    def time(tree):
        return 1 + 0.11 * tree.depth + 0.01 * len(tree)

    best = best_tree(chosen_on, time)
    chains = [rate(chosen_on, DraftTree.chain(length), time) for length in range(1, 9)]
    chain = max(chains, key=lambda each: each.speedup)
    assert best.speedup > 1.15 * chain.speedup
    scored = rate(scored_on, best.tree, time)
    assert scored.speedup > 1.15 * rate(scored_on, chain.tree, time).speedup
    assert scored.acceptance.mean_accepted_length == pytest.approx(best.acceptance.mean_accepted_length, rel=0.05)
    trees = grown_trees(chosen_on, [4, 8, 16], 3)
    assert trees[4].nodes < trees[8].nodes < trees[16].nodes
    sure = [TokenRanks((0,) * 30, (9,) * 30, False, 30)]
    assert best_tree(sure, time).tree.is_chain


def naive_rounds(tokens, choices, draft_tokens, limit):
    """The definition, token by token, from the draft's choices along the main's output."""
    rounds, start = [], 0
    while start < len(tokens):
        room = min(draft_tokens, limit - start)
        drafts = [choices[t] if t < len(tokens) else None for t in range(start, start + room)]
        wanted = [tokens[t] if t < len(tokens) else None for t in range(start, start + room)]
        accepted = 0
        while (
            accepted < room and drafts[accepted] == wanted[accepted] and (accepted == 0 or drafts[accepted - 1] != END)
        ):
            accepted += 1
        drafted = room
        for place, token in enumerate(drafts[: accepted + 1]):
            if token == END:
                drafted = place + 1
                break
        rounds.append((drafted, accepted))
        start += accepted + 1
    return rounds


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_the_replay_follows_its_definition(data):
    body = data.draw(st.lists(st.integers(0, 2), max_size=20))
    finished = data.draw(st.booleans())
    tokens = [*body, END] if finished else [*body, 0]
    choices = data.draw(st.lists(st.sampled_from([0, 1, 2, END]), min_size=len(tokens), max_size=len(tokens)))
    limit = len(tokens) + (data.draw(st.integers(0, 5)) if finished else 0)
    match = TokenMatches.of(tokens, choices, END, limit)
    for draft_tokens in (1, 2, 5, 16):
        rounds = accepted_per_round(match, draft_tokens)
        assert rounds == naive_rounds(tokens, choices, draft_tokens, limit)
        assert sum(accepted + 1 for _, accepted in rounds) in (len(tokens), len(tokens) + 1)


def test_pooled_figures_are_ratios_of_sums():
    found = pooled([(4, 4), (4, 1), (2, 2), (4, 0)], 4)
    assert (found.rounds, found.drafted, found.accepted) == (4, 14, 7)
    assert found.acceptance_rate == 7 / 14
    assert found.mean_accepted_length == 1 + 7 / 4
    assert found.position_joint == (3 / 4, 2 / 4, 1 / 4, 1 / 4)
    assert found.position_conditional == (3 / 4, 2 / 3, 1 / 2, 1.0)


def test_agreement_and_predicted_speedup_by_hand():
    matches = [TokenMatches.of([1, 2, END], [1, 0, END], END, 10), TokenMatches.of([3], [3], END, 1)]
    assert agreement(matches) == 3 / 4
    assert predicted_speedup(3.0, 4, 0.1, 1.1) == pytest.approx(3.0 / 1.5)


def test_agreement_without_an_assistant_or_a_language_is_refused():
    main = tiny_whisper()
    states = encode(main.model.encoder, features(1))
    with pytest.raises(InputError, match="no assistant"):
        Engine(main).agreement(states, [[1, END]], Options(language="nl"))
    with pytest.raises(InputError, match="language is unset"):
        Engine(main, cut(main)).agreement(states, [[1, END]], Options())
