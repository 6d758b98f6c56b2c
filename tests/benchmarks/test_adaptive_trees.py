"""Adaptive trees, grown beside a whole text at once, are those that a draft would grow token by token."""

import math

import pytest
import torch

from benchmarks.adaptive_trees import Grower, GrownTrees, Policy, accepted_and_time, won
from benchmarks.crossed import h100_costs
from tests.decoding.models import END, cut, features, tiny_whisper
from tests.decoding.oracle import allowed, forced_prefix, greedy
from whisper_pair.decoding import DraftTree, Engine, Options, accepted_per_tree, encode

BEAM, DEPTH = 3, 4


@pytest.fixture(scope="module")
def pair():
    main = tiny_whisper(3)
    return main, cut(main, noise=0.1), features(1, 3)[0]


@pytest.fixture(scope="module")
def tokens(pair):
    return greedy(pair[0], pair[2])


def grown(pair, tokens, depth: int, beam: int) -> GrownTrees:
    main, draft, window = pair
    engine = Engine(main, draft)
    grower = Grower(engine.draft, engine.heads(False)[1], engine.encoders.frames, depth, beam)
    return grower.grow(encode(main.model.encoder, [window])[0], forced_prefix(None, False), tokens)


def choices(pair, decoded: list[int], beam: int) -> list[tuple[float, int]]:
    """The draft's likeliest tokens after the decoded ones, with no cache."""
    main, draft, window = pair
    with torch.no_grad():
        states = main.model.encoder(window[None]).last_hidden_state
        ids = torch.tensor([forced_prefix(None, False) + decoded])
        logits = draft(input_ids=ids, encoder_outputs=(states,), use_cache=False).logits[0, -1]
    known = allowed(main, decoded, logits.tolist(), False)
    values = logits[known].log_softmax(-1).tolist()
    return sorted(zip(values, known, strict=True), reverse=True)[:beam]


def plainly(pair, tokens, start: int):
    """(scores of each level, the main's own path's, the fed nodes' probability) of one round, node by node."""
    beam: list[tuple[float, list[int]]] = [(0.0, [])]
    levels, path, fed = [], [], []
    for level in range(DEPTH):
        nodes = [
            (score + value, [*way, token])
            for score, way in beam
            for value, token in choices(pair, tokens[:start] + way, BEAM)
        ]
        own = tokens[start : start + level + 1]
        levels.append(sorted(score for score, _ in nodes))
        path.append(max((score for score, way in nodes if way == own and len(own) == level + 1), default=-math.inf))
        beam = sorted((node for node in nodes if node[1][-1] != END), reverse=True)[:BEAM]
        fed.append(sum(math.exp(score) for score, _ in beam))
    return levels, path, fed


def test_each_rounds_tree_is_the_one_that_grows_node_by_node(pair, tokens):
    found = grown(pair, tokens, DEPTH, BEAM)
    assert len(found.scores) == len(tokens) > 6
    for start in range(len(tokens)):
        levels, path, fed = plainly(pair, tokens, start)
        for level, scores in enumerate(levels):
            best = found.scores[start, level].sort().values[-len(scores) :]
            torch.testing.assert_close(best, torch.tensor(scores), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.path[start], torch.tensor(path), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.fed[start], torch.tensor(fed), rtol=1e-3, atol=1e-4)


def test_of_one_choice_a_level_it_is_the_chain(pair, tokens):
    main, draft, window = pair
    costs, engine = h100_costs(), Engine(main, draft)
    states = encode(main.model.encoder, [window])
    ranks = engine.ranks(states, [tokens], Options("nl"))[0]
    rounds = accepted_per_tree(ranks, DraftTree.chain(3))
    found = won([grown(pair, tokens, 3, 1)], Policy(3, 3, 0.0), costs)
    assert (found.rounds, found.tokens) == (len(rounds), sum(1 + accepted for _, accepted in rounds))


def test_drafting_ends_where_what_is_fed_is_too_unlikely():
    path = torch.tensor([[-0.1, -0.3, -0.4]])
    given = GrownTrees(path[..., None].clone(), path, torch.tensor([[0.9, 0.3, 0.1]]))
    costs = h100_costs()
    for threshold, depth in ((0.0, 3), (0.5, 2), (0.95, 1)):
        accepted, times = accepted_and_time(given, Policy(8, 3, threshold), costs)
        assert accepted == [depth]
        assert times[0] == pytest.approx(costs.tree(DraftTree.chain(depth)))
