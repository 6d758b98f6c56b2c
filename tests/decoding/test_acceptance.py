"""What the engine counts while decoding is what one parallel pass of the draft foretells, for every draft length."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding.models import END, cut, features, tiny_whisper
from whisper_pair.decoding.acceptance import TokenMatches, acceptances, accepted_per_round, agreement, pooled
from whisper_pair.decoding.draft_length import predicted_speedup
from whisper_pair.decoding.encoders import encode
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
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
