"""The draft length that "auto" picks is the cost model's best, learns within a call, and never outlives it."""

import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding.models import cut, features, tiny_whisper, trees
from whisper_pair.decoding.continuation import IMAGINED, Continuation
from whisper_pair.decoding.costs import PASSES, fastest
from whisper_pair.decoding.draft_choice import DraftChoice, Relative, best_drafts
from whisper_pair.decoding.draft_length import (
    LONGEST,
    MEASURED,
    Costs,
    best_draft_tokens,
    between,
    blend,
    expected_length,
    expected_lengths,
    relative,
)
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.proposing import Proposer
from whisper_pair.decoding.rank_shares import LATER, RankShares, Share, expected_tokens, likeliest_tree
from whisper_pair.decoding.tree import DraftTree


def costs(c, slope, batch_size=1):
    verify = {count: 1 + slope * count for count in MEASURED}
    return Costs(batch_size, c, verify, {count: count * c + verify[count] for count in MEASURED})


def taken(c, slope):
    return relative(costs(c, slope).rounds)


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(0, 16))
def test_expected_length_is_the_sum_of_the_chances_to_reach_each_token(agreement, count):
    assert expected_length(agreement, count) == pytest.approx(sum(agreement**power for power in range(count + 1)))


def test_a_good_and_cheap_draft_is_used_long_and_a_poor_or_dear_one_not_at_all():
    assert best_draft_tokens(0.99, taken(0.02, 0.01)) == LONGEST
    assert best_draft_tokens(0.5, taken(0.1, 0.02)) in (1, 2, 3)
    assert best_draft_tokens(0.2, taken(0.3, 0.1)) == 0
    assert best_draft_tokens(0.9, taken(1.0, 0.0)) == 0


@settings(deadline=None)
@given(st.floats(0.05, 0.95), st.floats(0.01, 1.0), st.floats(0.0, 0.3))
def test_the_best_is_no_worse_than_any_other(agreement, c, slope):
    known = costs(c, slope)
    best = best_draft_tokens(agreement, relative(known.rounds))

    def speedup(count):
        return expected_length(agreement, count) / known.round(count)

    assert speedup(best) >= max(speedup(count) for count in range(LONGEST + 1)) - 1e-9
    assert speedup(best) >= 1 - 1e-9


def test_costs_between_measured_ones_are_interpolated():
    assert between({0: 1.0, 4: 3.0, 8: 11.0}, 6) == 7.0
    assert between({1: 1.0, 8: 8.0}, 16) == 16.0
    middle = blend(costs(0.1, 0.0, 1), costs(0.3, 0.4, 9), 5)
    assert middle.draft == pytest.approx(0.2)
    assert middle.verification(4) == pytest.approx(1 + 0.8)
    assert middle.cost_ratio == pytest.approx(0.2)


class Machine:
    """A clock, and actions of known length that other work interrupts for 4 ms at a time, `crowd` of all time."""

    def __init__(self, seconds, crowd=0.0, seed=0):
        self.now, self.runs, self.interrupted = 0.0, 0, 0
        self.crowd, self.chance = crowd, random.Random(seed)
        self.actions = {name: lambda length=length: self.run(length) for name, length in seconds.items()}

    def run(self, length):
        self.runs += 1
        self.now += length
        while self.crowd and self.chance.expovariate(1) < self.crowd * length / 0.004:
            self.now += 0.004
            self.interrupted += 1
            length = 0.004

    def clock(self):
        return self.now


def test_a_quiet_machine_is_measured_twice_and_no_more():
    machine = Machine({0: 0.006, 8: 0.03})
    assert fastest(machine.actions, machine.clock) == pytest.approx({0: 0.006, 8: 0.03})
    assert machine.runs == 2 * 2 * 2  # each twice in a row


def test_a_short_step_is_timed_when_it_has_come_into_its_stride():
    machine = Machine({8: 0.006})
    strides = iter([0.002, 0.0015, 0.0012] + [0.001] * 99)
    machine.actions[0] = lambda: machine.run(next(strides))
    assert fastest(machine.actions, machine.clock) == pytest.approx({0: 0.001, 8: 0.006})


@pytest.mark.parametrize("seed", range(20))
def test_on_a_crowded_machine_the_draft_length_is_still_that_of_a_quiet_one(seed):
    quiet = costs(0.15, 0.05)
    lengths = {count: 0.001 * factor for count, factor in quiet.rounds.items()}
    machine = Machine(lengths, crowd=0.6, seed=seed)
    found = fastest(machine.actions, machine.clock)
    assert machine.interrupted > machine.runs / 10
    for agreement in (0.3, 0.6, 0.8, 0.9, 0.95):
        chosen = best_draft_tokens(agreement, relative(found))
        best = best_draft_tokens(agreement, relative(quiet.rounds))
        gains = [expected_length(agreement, count) / quiet.round(count) for count in (chosen, best)]
        assert gains[0] > 0.95 * gains[1]


def test_a_machine_that_is_never_quiet_is_not_measured_for_ever():
    machine = Machine({0: 0.006, 8: 0.03})
    machine.actions[8] = lambda: machine.run(0.03 * 1.03**-machine.runs)  # ever faster, so never the same twice
    fastest(machine.actions, machine.clock)
    assert machine.runs == 2 * 2 * PASSES
    slow = Machine({0: 1.0, 8: 3.0}, crowd=0.01)
    fastest(slow.actions, slow.clock)
    assert slow.runs == 2 * 2 * 2


def test_a_disturbed_round_counts_no_more_than_a_longer_one():
    disturbed = costs(0.1, 0.02)
    disturbed.rounds[4] *= 5
    chosen_by = relative(disturbed.rounds)
    assert best_draft_tokens(0.8, chosen_by) in range(4, 9)
    assert chosen_by[4] == pytest.approx(disturbed.round(8))
    assert chosen_by[2] == pytest.approx(disturbed.round(2))
    assert disturbed.round(4) > 4  # what was measured is reported as it was


def test_other_work_on_the_cpu_is_not_counted(monkeypatch):
    main = tiny_whisper(2)
    engine = Engine(main, cut(main))
    plain = Proposer.one_pass

    def interrupted(self, *given):
        time.sleep(0.1)
        return plain(self, *given)

    monkeypatch.setattr("whisper_pair.decoding.costs.PASSES", 2)
    monkeypatch.setattr("whisper_pair.decoding.proposing.Proposer.one_pass", interrupted)
    assert 0 < engine.costs().draft < 0.05


def test_the_estimate_counts_trials_up_to_the_first_refusal():
    seen = Share(prior=0.5, weight=2)
    seen.observe(drafted=4, accepted=4)  # no refusal seen
    seen.observe(drafted=4, accepted=1)  # one agreed, one refused, two untried
    assert seen.value == pytest.approx((1 + 5) / (2 + 6))


def test_lengths_grow_with_agreement_and_shrink_without():
    good, poor = (DraftChoice("auto", lambda batch: Relative(taken(0.1, 0.02), {})) for _ in range(2))
    start = good.choose([0])
    eight = DraftTree.chain(8)
    for _ in range(50):
        good.observe(eight, range(8), 8, 9, 9, False)
        poor.observe(eight, (), 8, 1, 1, False)
    assert len(poor.choose([0])) < len(start) < len(good.choose([0]))


def test_a_text_as_long_as_the_others_drafts_little_and_one_at_its_beginning_as_if_none_ended():
    lengths, chance = DraftChoice("auto", lambda batch: Relative(taken(0.1, 0.02), {})), random.Random(0)
    for _ in range(60):
        length = chance.randint(18, 22)
        lengths.observe(DraftTree.chain(16), range(16), 16, length, length, True)
    assert len(lengths.choose([0])) == LONGEST
    assert len(lengths.choose([19])) <= 2
    assert len(lengths.choose([19])) < len(lengths.choose([0, 19])) <= LONGEST


def test_chances_to_go_on_are_shares_of_the_texts_that_were_as_long():
    texts = Continuation()
    for length in (5, 10, 10, 20):
        texts.observe(length, length, True)
    ends = 1 - 5 / (IMAGINED + 45)  # of the imagined text
    assert texts.chances([0], 3) == pytest.approx([1, *((4 + ends**k) / 5 for k in (1, 2, 3))])
    assert texts.chances([9], 1) == pytest.approx([1, (1 + ends) / 4])
    assert texts.chances([30], 2) == pytest.approx([1, ends, ends**2])
    both = zip(texts.chances([0], 20), texts.chances([9], 20), strict=True)
    assert texts.chances([0, 9], 20) == pytest.approx([(a + b) / 2 for a, b in both])


def round_over(tree, rank_path):
    """What a round over the tree accepts where the main's tokens have these ranks."""
    path = [
        tree.paths.index(rank_path[:depth]) for depth in range(1, len(rank_path) + 1) if rank_path[:depth] in tree.nodes
    ]
    return tree, path, len(tree)


def test_rank_shares_are_learnt_from_trees():
    tree, chance, learnt = likeliest_tree((0.6, 0.12, 0.05), 16, 3), random.Random(0), RankShares()
    for _ in range(4000):
        learnt.observe(*round_over(tree, tuple(chance.choices(range(4), [0.5, 0.2, 0.1, 0.2], k=3))), ended=False)
    assert learnt.shares[:3] == pytest.approx([0.5, 0.2, 0.1], abs=0.03)


def test_the_last_accepted_draft_of_an_ended_text_refuses_nothing():
    tree, learnt = DraftTree.of([(0,), (1,), (0, 0)]), RankShares()
    learnt.observe(*round_over(tree, (0,)), ended=True)
    assert (learnt.first.agreed, learnt.first.refused) == (1, 0)
    learnt.observe(*round_over(tree, (1,)), ended=False)  # a leaf: what follows was not drafted
    assert (learnt.first.agreed, learnt.first.refused) == (1, 1)
    assert (learnt.later[0].agreed, learnt.later[0].refused) == (1, 0)


@settings(deadline=None, max_examples=50)
@given(tree=trees(), share=st.floats(0.1, 0.9), length=st.integers(0, 16))
def test_expected_tokens_are_the_chances_of_all_nodes(tree, share, length):
    shares = [share * (1 - share) ** rank for rank in range(8)]
    wanted = 1 + sum(math.prod(shares[rank] for rank in path) for path in tree.paths)
    assert expected_tokens(tree, shares) == pytest.approx(wanted)
    assert expected_tokens(DraftTree.chain(length), shares) == pytest.approx(expected_length(share, length))
    goes_on = [0.9**depth for depth in range(33)]  # texts that end: as if each draft agreed so much less often
    assert expected_tokens(tree, shares, goes_on) == pytest.approx(
        expected_tokens(tree, [0.9 * each for each in shares])
    )
    assert expected_lengths(share, goes_on)[length] == pytest.approx(expected_length(0.9 * share, length))


def test_trees_are_chosen_where_they_pay_and_chains_elsewhere():
    """With an H100's costs: a draft pass 0.11 of a plain step, verification of 2 to 17 tokens 1.13 to 1.3."""
    wide, small = likeliest_tree((0.58, 0.12, 0.05), 16, 3), likeliest_tree((0.58, 0.12, 0.05), 4, 2)
    chains = [1.0, *(1.12 + 0.12 * length for length in range(1, 17))]
    known = Relative(chains, {wide: 1.3 + 0.36, small: 1.17 + 0.23})

    def best(agreement, **more):
        later = [(1 - agreement) * LATER[0], (1 - agreement) * (1 - LATER[0]) * LATER[1], 0.03, 0, 0, 0, 0]
        return best_drafts([agreement, *later], known, **more)

    assert best(0.57) == best(0.66) == wide
    assert best(0.97).is_chain
    assert len(best(0.97)) > 4
    assert best(0.57, chains_only=True).is_chain
    assert best_drafts([0.2, 0.02, 0.01, 0, 0, 0, 0, 0], known) == DraftTree.chain(0)


def test_auto_decodes_the_same_tokens_and_carries_nothing_to_the_next_call():
    main, windows = tiny_whisper(4), features(9, 4)
    engine = Engine(main, cut(main))
    for size in (1, 3):
        engine.round_times.learn(size, False, costs(0.1, 0.05).times)
    options = Options(language="nl", batch_size=3)
    expected = [row.tokens for row in engine.decode(windows, Options(language="nl", draft_tokens=0))]
    first = engine.decode(windows, options)
    assert [row.tokens for row in first] == expected
    assert len({count for row in first for count in row.drafted_per_round}) > 2
    engine.decode(features(9, 5), options)
    assert engine.decode(windows, options) == first


def test_a_clock_too_coarse_for_one_round_disturbs_nothing(monkeypatch):
    """As on Windows, where the CPU's moves by 1/64 s."""
    exact = time.thread_time
    monkeypatch.setattr(time, "thread_time", lambda: math.floor(64 * exact()) / 64)
    main, windows = tiny_whisper(4), features(9, 4)
    engine = Engine(main, cut(main))
    expected = [row.tokens for row in engine.decode(windows, Options(language="nl", draft_tokens=0))]
    options = Options(language="nl", batch_size=3)
    for _ in range(2):  # from what calls know of rounds, and from what is measured at once
        assert [row.tokens for row in engine.decode(windows, options)] == expected
        engine.measure_rounds(options)
    known = engine.round_times.known.values()
    assert all(seconds > 0 for times in known for seconds in times.chains.values())


def test_drafting_that_stops_and_resumes_stays_exact(monkeypatch):
    main, windows = tiny_whisper(2), features(9, 2)
    engine = Engine(main, cut(main))
    expected = [row.tokens for row in Engine(main).decode(windows, Options(language="nl"))]
    tree = DraftTree.of([(0,), (1,), (0, 0), (0, 1), (1, 0)])
    plan = [*map(DraftTree.chain, (0, 0, 3, 0, 1, 5, 0)), tree, *map(DraftTree.chain, (0, 0, 2)), tree, tree]
    drafts = iter(plan * 1000)
    monkeypatch.setattr("whisper_pair.decoding.engine.DraftChoice.choose", lambda self, decoded: next(drafts))
    found = engine.decode(windows, Options(language="nl", draft_tokens=1))
    assert [row.tokens for row in found] == expected
    assert sum(row.accepted for row in found) > 20


def test_measuring_costs_in_the_middle_of_a_call_disturbs_no_row(monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.costs.PASSES", 2)
    main, windows = tiny_whisper(2), features(5, 2)
    engine = Engine(main, cut(main))
    expected = [row.tokens for row in Engine(main).decode(windows, Options(language="nl"))]
    measured = []

    def measure(index, step):
        if index == 1 and len(step.tokens) > 2:
            engine.forget_costs()
            measured.append(engine.costs(4))

    rows = engine.decode(windows, Options(language="nl", batch_size=4, draft_tokens=3), on_round=measure)
    assert [row.tokens for row in rows] == expected
    assert len(measured) > 2
    found = measured[-1]
    assert set(found.verify) == set(found.rounds) == set(MEASURED)
    assert found.cost_ratio > 0
    assert found.batch_size == 4


def test_a_confidence_stop_drafts_less_and_changes_no_token():
    main, windows = tiny_whisper(4), features(9, 4)
    engine = Engine(main, cut(main))
    for timestamps in (False, True):
        whole = engine.decode(windows, Options(language="nl", timestamps=timestamps, draft_tokens=6))
        stopped = engine.decode(
            windows, Options(language="nl", timestamps=timestamps, draft_tokens=6, confidence=0.5, batch_size=4)
        )
        assert [row.tokens for row in stopped] == [row.tokens for row in whole]
        assert sum(row.drafted for row in stopped) < sum(row.drafted for row in whole)
        assert sum(row.accepted for row in stopped) > 0


def test_a_poor_draft_tries_no_longer_chain_and_a_good_one_does():
    known = Relative([1.0, 1.5], {})
    poor, good = (DraftChoice("auto", lambda batch: known, untried=lambda batch: DraftTree.chain(2)) for _ in range(2))
    for _ in range(20):
        poor.observe(DraftTree.chain(1), [], 1, 1, 1, False)
        good.observe(DraftTree.chain(1), [0], 1, 2, 2, False)
    assert len(poor.choose([0])) == 0
    assert len(good.choose([0])) == 2
    poor.untried = lambda batch: DraftTree.chain(1)  # what was measured once is measured twice
    assert len(poor.choose([0])) == 1
