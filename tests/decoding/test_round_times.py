""" "auto" learns what rounds cost while it decodes: bit by bit, no more than it can use, and never twice."""

import itertools
import time
import types

import pytest

from tests.decoding.models import cut, features, tiny_whisper
from whisper_pair.decoding.draft_length import MEASURED, Times
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.rank_shares import TREES
from whisper_pair.decoding.round_times import SEEN, Ladder, RoundTimes
from whisper_pair.decoding.tree import DraftTree


class Machine:
    """Rounds of given costs, on a clock that moves only with them."""

    def __init__(self, draft: float, token: float):
        self.draft, self.token = draft, token  # over a plain step of 10 ms
        self.now, self.timed, self.disturbed = 0.0, [], {}

    def round_seconds(self, batch_size: int, drafts: DraftTree) -> float:
        count = len(drafts)
        steps = 1 + drafts.depth * self.draft + count * self.token * batch_size
        taken = 0.01 * steps * self.disturbed.pop(count, 1.0)
        self.timed.append((batch_size, count))
        self.now += taken
        return taken


@pytest.mark.parametrize(
    ("draft", "token", "longest"),
    [(0.05, 0.01, 16), (0.5, 0.1, 4), (1.0, 0.1, 1)],  # cheap drafts, dear ones, and such as never pay
)
def test_no_length_is_measured_that_no_draft_would_make_the_best(draft, token, longest):
    some, ladder = Machine(draft, token), Ladder()
    while (drafts := ladder.next()) is not None:
        ladder.record(drafts, some.round_seconds(1, drafts))
    lengths = list(ladder.times.chains)
    assert lengths == list(MEASURED[: len(lengths)])
    assert longest in lengths[-2:]  # one more may be needed to see that it is not better
    assert all(len(seconds) == SEEN for seconds in ladder.lengths.values())


@pytest.mark.parametrize(("draft", "token", "largest"), [(0.11, 0.01, 16), (0.11, 0.06, 4), (0.5, 0.1, 0)])
def test_no_tree_is_measured_that_would_never_be_chosen(draft, token, largest):
    some, ladder = Machine(draft, token), Ladder(TREES)
    while (drafts := ladder.next()) is not None:
        ladder.record(drafts, some.round_seconds(1, drafts))
    sizes = [len(tree) for tree in ladder.times.trees]
    assert sizes == [4, 8, 16][: len(sizes)]
    assert largest in [0, *sizes][-2:]  # one more may be needed to see that it is not better
    assert all(len(seconds) == SEEN for seconds in ladder.trees.values())


def test_one_disturbed_moment_does_not_end_drafting():
    some, ladder = Machine(0.1, 0.02), Ladder()
    some.disturbed = {1: 20.0}  # the first time
    while (drafts := ladder.next()) is not None:
        ladder.record(drafts, some.round_seconds(1, drafts))
    assert max(ladder.times.chains) == 16


def rounds(call, some, batch_size, count=100):
    """What a call's rounds of one batch size try, one after another."""
    tried = []
    for _ in range(count):
        drafts = call.untried(batch_size)
        if drafts is None:
            return tried
        tried.append(len(drafts))
        call.record(batch_size, drafts, some.round_seconds(batch_size, drafts))
    raise AssertionError("never enough")


def test_a_batch_size_is_learnt_from_the_calls_own_rounds_when_it_first_occurs_and_not_again():
    some, times = Machine(0.05, 0.01), RoundTimes()
    call = times.in_call(False)
    assert call.taken(1) is None
    assert rounds(call, some, 1) == [count for count in MEASURED for _ in range(SEEN)]
    assert set(times.known) == {(1, False, None)}
    assert rounds(call, some, 7)[:3] == [0, 0, 1]
    assert set(times.known) == {(1, False, None), (8, False, None)}  # eight serve all below
    one, three, eight = (call.taken(size) for size in (1, 3, 8))
    assert one.chains[1] < three.chains[1] < eight.chains[1]  # on the straight line between
    assert three.chains[1] == pytest.approx(one.chains[1] + 2 / 7 * (eight.chains[1] - one.chains[1]))
    again = times.in_call(False)
    assert [again.untried(size) for size in (1, 3, 5, 8)] == [None] * 4
    assert times.taken(1, True) is None  # other rules are other rounds


def test_the_last_rows_of_a_call_try_nothing_and_go_by_the_nearest_size():
    some, times = Machine(0.05, 0.01), RoundTimes()
    call = times.in_call(False)
    call.untried(8)
    assert call.untried(3) is None
    call.record(3, DraftTree.chain(0), 1.0)
    assert not times.known
    rounds(call, some, 8)
    assert call.untried(3) is None
    assert call.taken(3) is not None
    assert times.in_call(False).untried(3) == DraftTree.chain(0)  # in a call of its own it is worth knowing


def test_a_round_that_was_not_requested_is_not_counted():
    times = RoundTimes()
    call = times.in_call(False)
    call.untried(1)
    call.record(1, DraftTree.chain(4), 1.0)
    assert call.untried(1) == DraftTree.chain(0)


def test_the_engine_learns_from_its_rounds_what_it_needs_and_writes_the_same(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: 0.001 * next(ticks))  # every round takes the same
    main, windows = tiny_whisper(4), features(6, 4)
    expected = [row.tokens for row in Engine(main).decode(windows, Options(language="nl"))]
    engine = Engine(main, cut(main))
    found = engine.decode(windows[:1], Options(language="nl", batch_size=8))
    assert [row.tokens for row in found] == expected[:1]
    sizes = {size for size, _, _ in {**engine.round_times.known, **engine.round_times._begun}}
    assert sizes == {1}
    found = engine.decode([*windows] * 8, Options(language="nl", batch_size=6))
    assert [row.tokens for row in found] == expected * 8
    assert (8, False, None) in engine.round_times.known  # 6 rows are of its bucket


def test_what_auto_measures_at_once_is_what_its_rounds_would_have_learnt():
    main = tiny_whisper(4)
    engine = Engine(main, cut(main))
    engine.measure_rounds(Options(language="nl", batch_size=4))
    assert set(engine.round_times.known) == {(1, False, None), (4, False, None)}
    engine.measure_rounds(Options(language="nl", batch_size=3, draft_tokens=2))
    assert set(engine.round_times.known) == {(1, False, None), (4, False, None)}


def test_what_a_store_keeps_is_not_measured(monkeypatch):
    kept = {(1, False, None): Times({0: 0.01, 1: 0.011, 2: 0.012})}
    saved, loads = [], []
    store = types.SimpleNamespace(load=lambda: loads.append(1) or dict(kept), save=lambda known: saved.append(known))
    main = tiny_whisper(4)
    engine = Engine(main, cut(main))
    engine.round_times.store = store
    engine.decode(features(1, 4), Options(language="nl", draft_tokens=2))
    assert not loads  # a given draft length asks nothing
    measured = []
    monkeypatch.setattr("whisper_pair.decoding.engine.round_seconds", lambda *given: measured.append(given) or 0.01)
    for _ in range(2):
        engine.decode(features(1, 4), Options(language="nl"))
    assert (len(loads), measured) == (1, [])
    assert engine.round_times.known == kept
    assert not saved
    engine.round_times.learn(8, False, Times({0: 0.01, 1: 0.02}))
    assert set(saved[-1]) == {(1, False, None), (8, False, None)}
