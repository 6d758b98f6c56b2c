""" "auto" learns what rounds cost while it decodes: bit by bit, no more than it can use, and never twice."""

import types

import pytest

from tests.decoding.models import cut, features, tiny_whisper
from whisper_pair.decoding import round_times
from whisper_pair.decoding.draft_choice import UNMEASURED
from whisper_pair.decoding.draft_length import MEASURED, Times
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.rank_shares import TREES
from whisper_pair.decoding.round_times import SEEN, SHARE, Ladder, RoundTimes
from whisper_pair.decoding.tree import DraftTree


class Machine:
    """Rounds of given costs, on a clock that moves only with them."""

    def __init__(self, draft: float, token: float):
        self.draft, self.token = draft, token  # over a plain step of 10 ms
        self.now, self.asked, self.disturbed = 0.0, [], {}

    def round_seconds(self, batch_size: int, drafts: DraftTree) -> float:
        count = len(drafts)
        steps = 1 + drafts.depth * self.draft + count * self.token * batch_size
        taken = 0.01 * steps * self.disturbed.pop(count, 1.0)
        self.asked.append((batch_size, count))
        self.now += taken
        return taken


@pytest.fixture
def machine(monkeypatch):
    def of(draft: float, token: float) -> Machine:
        found = Machine(draft, token)
        monkeypatch.setattr(round_times, "time", types.SimpleNamespace(perf_counter=lambda: found.now))
        return found

    return of


@pytest.mark.parametrize(
    ("draft", "token", "longest"),
    [(0.05, 0.01, 16), (0.5, 0.1, 4), (1.0, 0.1, 1)],  # cheap drafts, dear ones, and such as never pay
)
def test_no_length_is_measured_that_no_draft_would_make_the_best(machine, draft, token, longest):
    some, ladder = machine(draft, token), Ladder()
    while ladder.next() is not None:
        ladder.measure(lambda drafts: some.round_seconds(1, drafts))
    lengths = list(ladder.times.chains)
    assert lengths == list(MEASURED[: len(lengths)])
    assert longest in lengths[-2:]  # one more may be needed to see that it is not better
    assert all(len(seconds) == SEEN for seconds in ladder.lengths.values())


@pytest.mark.parametrize(("draft", "token", "largest"), [(0.11, 0.01, 16), (0.11, 0.06, 4), (0.5, 0.1, 0)])
def test_no_tree_is_measured_that_would_never_be_chosen(machine, draft, token, largest):
    some, ladder = machine(draft, token), Ladder(TREES)
    while ladder.next() is not None:
        ladder.measure(lambda drafts: some.round_seconds(1, drafts))
    sizes = [len(tree) for tree in ladder.times.trees]
    assert sizes == [4, 8, 16][: len(sizes)]
    assert largest in [0, *sizes][-2:]  # one more may be needed to see that it is not better
    assert all(len(seconds) == SEEN for seconds in ladder.trees.values())


def test_one_disturbed_moment_does_not_end_drafting(machine):
    some, ladder = machine(0.1, 0.02), Ladder()
    some.disturbed = {1: 20.0}  # the first time
    while ladder.next() is not None:
        ladder.measure(lambda drafts: some.round_seconds(1, drafts))
    assert max(ladder.times.chains) == 16


def test_decoding_does_not_wait_for_what_is_measured(machine):
    some, times = machine(0.3, 0.05), RoundTimes()
    asked = times.while_decoding(some.round_seconds, 8, False)
    begun, decoding, waits = some.now, 0.0, []
    some.now += 0.1  # the encoder
    for _ in range(200):
        before = some.now
        asked(1)
        waits.append(some.now - before)
        some.now += 0.02
    decoding = some.now - begun
    assert sum(waits) <= SHARE * decoding + max(waits)
    assert max(waits) <= 0.01 * (1 + 16 * 0.35) + 1e-9  # of one length
    assert asked(1) is not None
    assert set(times.known) == {(1, False)}  # no other batch size occurred


def test_a_batch_size_is_measured_when_it_first_occurs_and_not_again(machine):
    some, times = machine(0.3, 0.05), RoundTimes()
    asked = times.while_decoding(some.round_seconds, 8, False)

    assert asked(1) is None
    while asked(1) is None:
        some.now += 1.0
    assert set(times.known) == {(1, False)}
    assert asked(7) is None
    while asked(7) is None:
        some.now += 1.0
    assert set(times.known) == {(1, False), (8, False)}  # eight serve all below
    count = len(some.asked)
    one, three, eight = (asked(size) for size in (1, 3, 8))
    assert one.chains[1] < three.chains[1] < eight.chains[1]  # on the straight line between
    assert three.chains[1] == pytest.approx(one.chains[1] + 2 / 7 * (eight.chains[1] - one.chains[1]))
    assert len(some.asked) == count
    assert times.while_decoding(some.round_seconds, 8, False)(1) == one  # nor in the next call
    assert times.taken(1, True) is None  # other rules are other rounds


def test_the_engine_measures_between_rounds_what_it_needs_and_says_the_same(monkeypatch):
    main, windows = tiny_whisper(4), features(6, 4)
    expected = [row.tokens for row in Engine(main).decode(windows, Options(language="nl"))]
    monkeypatch.setattr(round_times, "SHARE", 1e9)
    engine = Engine(main, cut(main))
    found = engine.decode(windows[:1], Options(language="nl", batch_size=8))
    assert [row.tokens for row in found] == expected[:1]
    assert found[0].drafted_per_round[0] == UNMEASURED  # before anything is known
    sizes = {size for size, _ in {**engine.round_times.known, **engine.round_times._begun}}
    assert sizes == {1}
    found = engine.decode([*windows] * 4, Options(language="nl", batch_size=6))
    assert [row.tokens for row in found] == expected * 4
    assert set(engine.round_times.known) >= {(1, False), (8, False)}  # 6 rows lie between


def test_what_a_store_keeps_is_not_measured(monkeypatch):
    kept = {(1, False): Times({0: 0.01, 1: 0.011, 2: 0.012})}
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
    assert set(saved[-1]) == {(1, False), (8, False)}
