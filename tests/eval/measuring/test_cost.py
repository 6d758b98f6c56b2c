"""The cost model."""

import pytest

from eval.measuring.acceptance import acceptance_section
from eval.measuring.cost import diluted, improved_length, prediction_section
from tests.eval.measuring.samples import COSTS, matches
from whisper_pair.decoding.draft_length import Costs


def test_the_encoder_dilutes_a_speedup_as_amdahl_says():
    assert diluted(2.0, 0.0) == 2.0
    assert diluted(2.0, 0.5) == pytest.approx(1 / 0.75)
    assert diluted(1e9, 0.25) == pytest.approx(4)
    assert diluted(2.0, 0.5, 0.25) == pytest.approx(1.0)  # an encoder of the assistant's own costs on top


def test_a_better_draft_lengthens_rounds_to_their_limit():
    conditional = [0.8, 0.9, 0.5]
    plain = 1 + 0.8 + 0.8 * 0.9 + 0.8 * 0.9 * 0.5
    assert improved_length(conditional, 0.0) == pytest.approx(plain)
    assert plain < improved_length(conditional, 0.5) < 4
    assert improved_length(conditional, 1.0) == 4


def test_the_best_setting_is_the_greatest_prediction_and_zero_where_nothing_gains():
    acceptance = acceptance_section(matches(), COSTS)
    row = {"engine": "pair", "mode": "greedy", "batch_size": 1, "seconds": 1.0, "assistant": None, "draft_tokens": None}
    speed = {"encoder": [{"batch_size": 1, "main": 0.2, "assistant": None}], "rows": [row]}
    (batch,) = prediction_section({1: COSTS}, acceptance, speed)["by_batch_size"]
    by_length = {p["draft_tokens"]: p["end_to_end"] for p in batch["predictions"]}
    assert batch["best_draft_tokens"] == max(by_length, key=by_length.__getitem__)
    assert batch["best_end_to_end"] > 1
    timed = {"engine": "pair", "mode": "speculative", "batch_size": 1, "assistant": "ours", "speedup_interval": [1, 2]}
    slower, faster = ({**timed, "draft_tokens": count, "speedup": gain} for count, gain in ((2, 0.9), (3, 1.2)))
    (batch,) = prediction_section({1: COSTS}, acceptance, speed | {"rows": [row, slower, faster]})["by_batch_size"]
    assert (batch["best_draft_tokens"], batch["best_end_to_end"]) == (3, 1.2)  # what was timed decides
    slow = Costs(1, draft=0.02, verify=COSTS.verify, rounds=COSTS.rounds)
    (batch,) = prediction_section({1: slow}, acceptance, speed)["by_batch_size"]
    assert (batch["best_draft_tokens"], batch["best_end_to_end"]) == (0, 1.0)


def test_of_several_measurements_each_piece_counts_with_its_least():
    one = Costs(1, 0.1, {0: 1.0, 1: 3.0}, {0: 1.0, 1: 2.0})
    other = Costs(1, 0.2, {0: 2.0, 1: 1.0}, {0: 0.5, 1: 4.0})
    assert Costs.least([one, other]) == Costs(1, 0.1, {0: 1.0, 1: 1.0}, {0: 0.5, 1: 2.0})
