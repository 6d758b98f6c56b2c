"""Students are scored by the speedup of their best drafts, chains or trees, and the trees that suit them are kept."""

from types import SimpleNamespace

import pytest

from distill.validation import DraftValidator
from tests.decoding.models import cut, features, tiny_whisper
from whisper_pair.decoding import Costs, DraftTree, Engine, Options, encode, rate

GPU = Costs(1, 0.01, dict.fromkeys((0, 1, 16), 1.0) | {0: 1.0}, {0: 1.0, 1: 1.01}, {2: 0.01, 8: 0.01})
CPU = Costs(1, 0.4, {0: 1.0, 1: 1.3, 16: 5.8}, {0: 1.0, 1: 1.7}, {2: 0.5, 8: 1.5})


def transcripts(main):
    """What the main says of some windows, as a training holds it."""
    windows, options = features(12, 4), Options(language="nl")
    states = encode(main.model.encoder, windows)
    tokens = [row.tokens for row in Engine(main).decode(windows, options)]
    return SimpleNamespace(
        main=main,
        ranks=lambda engine: engine.ranks(states, tokens, options),
        examples=lambda engine: [],
        with_audio=lambda examples: {},
        validator=SimpleNamespace(tokenizer=None),
    )


@pytest.mark.parametrize(("costs", "branches"), [(GPU, True), (CPU, False)])
def test_a_student_is_scored_by_its_best_chain_or_tree(costs, branches, tmp_path):
    main = tiny_whisper(4)
    student, clips = cut(main, noise=0.3), transcripts(main)
    validator = DraftValidator(clips, None, tmp_path / "costs.json")
    validator.costs = costs
    score = validator.score(student)
    found = clips.ranks(Engine(main, student))
    chains = [rate(found, DraftTree.chain(length), costs.tree).speedup for length in range(1, 17)]
    assert (
        score.figures["predicted_speedup"] == score.value == pytest.approx(max(*chains, score.figures["tree_speedup"]))
    )
    assert (score.value > 1.05 * max(chains)) == branches
    assert all(not tree.is_chain for tree in validator.trees)
    assert [len(tree) for tree in validator.trees] == sorted(len(tree) for tree in validator.trees)
