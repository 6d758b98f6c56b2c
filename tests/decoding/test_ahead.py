"""Rounds that are submitted before the one before them is read, as on CUDA: the same code, made to do so on the CPU."""

from itertools import cycle

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.decoding.models import ALWAYS, END, NEVER, ONCE_READ, cut, features, tiny_whisper, with_own_encoder
from tests.decoding.test_graphs import recorded, refuse_waiting
from whisper_pair.decoding.draft_choice import DraftChoice
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.round_result import InFlight
from whisper_pair.decoding.rounds import Rounds
from whisper_pair.decoding.rows import Row
from whisper_pair.decoding.tree import DraftTree

TREE = DraftTree.of([(0,), (1,), (2,), (0, 0), (0, 1), (1, 0), (0, 0, 0)])
READ = ("tolist", "item", "cpu", "numpy", "__bool__", "__int__", "__index__", "__float__")  # a tensor's values


class Rounded:
    """The rounds of all calls within: how many were on their way when each was submitted, this one left out."""

    def __init__(self, patch):
        self.before = []
        self.on_their_way, self.reading = 0, False
        submit, results = Rounds.submit, InFlight.results

        def submitted(rounds, inputs, shape):
            self.before.append(self.on_their_way)
            self.on_their_way += 1
            return submit(rounds, inputs, shape)

        def read(flight):
            self.reading = True
            found = results(flight)
            self.reading = False
            self.on_their_way -= 1
            return found

        patch.setattr(Rounds, "submit", submitted)
        patch.setattr(InFlight, "results", read)

    @property
    def may_wait(self):
        return self.reading or not self.on_their_way


@pytest.fixture
def rounded(monkeypatch):
    return Rounded(monkeypatch)


class Dispatched(TorchDispatchMode):
    """Refuses what waits while a round is on its way."""

    def __init__(self, rounded):
        super().__init__()
        self.rounded = rounded

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if not self.rounded.may_wait:
            refuse_waiting(operation, args)
            copied = operation.overloadpacket.__name__ == "_to_copy" and "device" in (kwargs or {})
            assert not copied or kwargs.get("non_blocking"), "a copy from device to device, or to the host, waits"
        return operation(*args, **(kwargs or {}))


class Called(TorchFunctionMode):
    """The same of what no operation is dispatched for on a CPU."""

    def __init__(self, rounded):
        super().__init__()
        self.rounded = rounded

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        assert self.rounded.may_wait or name not in READ, f"{name} waits for the device"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("draft_tokens", [0, 3, 16, TREE], ids=str)
def test_every_round_is_the_same_whenever_it_is_submitted(draft_tokens, timestamps):
    """Its drafts, what is accepted, log-probabilities: all that a row counts."""
    main, windows = tiny_whisper(4), features(9, 4)
    engine = Engine(main, cut(main))
    options = Options(language="nl", timestamps=timestamps, batch_size=4, draft_tokens=draft_tokens)
    prompts = [None, [1, 2], list(range(20))] * 3
    expected = engine.decode(windows, options, prompts)
    for engine.bucketed in (False, True):
        for engine.ahead in (ONCE_READ, ALWAYS):
            assert engine.decode(windows, options, prompts) == expected


@pytest.mark.parametrize("ahead", [ONCE_READ, ALWAYS])
@pytest.mark.parametrize("options", [{}, {"timestamps": True}, {"log_probabilities": True}], ids=str)
@pytest.mark.parametrize("draft_tokens", [0, 3, TREE], ids=str)
def test_nothing_waits_for_the_device_while_a_round_is_on_its_way(draft_tokens, options, ahead, rounded):
    main, windows = tiny_whisper(4), features(7, 4)
    engine = Engine(main, cut(main), ahead=True)
    engine.ahead = ahead
    asked = Options(**{"language": "nl", "batch_size": 3, "draft_tokens": draft_tokens} | options)
    expected = engine.decode(windows, asked)  # and what is made once is made
    with Dispatched(rounded), Called(rounded):
        assert engine.decode(windows, asked) == expected
    assert max(rounded.before) == (ahead == ALWAYS)


@pytest.mark.parametrize(
    "wait",
    [
        lambda given: given.tolist(),
        lambda given: given.sum().item(),
        lambda given: bool(given.any()),
        lambda given: given[given > 0],
        lambda given: given.nonzero(),
        lambda given: given.to("cpu", copy=True),
        lambda given: given.cpu(),
        lambda given: given + torch.tensor([1.0, 2.0]),
    ],
)
def test_what_waits_is_noticed(wait, rounded):
    given = torch.ones(2)
    with Dispatched(rounded), Called(rounded):
        wait(given)
        rounded.on_their_way = 1
        with pytest.raises(AssertionError):
            wait(given)


@pytest.mark.parametrize("draft_tokens", [0, 3, TREE], ids=str)
def test_a_round_is_on_its_way_while_the_one_before_it_is_read_and_a_row_that_ends_costs_one_in_vain(
    draft_tokens, rounded
):
    main, windows = tiny_whisper(4), features(5, 4)
    engine = Engine(main, cut(main), ahead=True)
    rows = engine.decode(windows, Options(language="nl", batch_size=1, draft_tokens=draft_tokens))
    assert len(rounded.before) == sum(row.rounds + 1 for row in rows)
    assert rounded.before == [number > 0 for row in rows for number in range(row.rounds + 1)]


def test_without_it_and_where_a_round_is_read_first_none_is_in_vain(rounded):
    main, windows = tiny_whisper(4), features(5, 4)
    engine = Engine(main, cut(main), ahead=False)
    for engine.ahead in (NEVER, ONCE_READ):
        rounded.before.clear()
        rows = engine.decode(windows, Options(language="nl", batch_size=1, draft_tokens=3))
        assert rounded.before == [0] * sum(row.rounds for row in rows)


def test_once_texts_are_known_to_be_long_the_last_round_alone_is_read_first(rounded):
    main = tiny_whisper(4, suppressed=(1, 2, END))  # so every text has the length that is asked for
    engine = Engine(main)
    engine.ahead = 0.1
    engine.decode(features(9, 4).repeat(10, 1, 1), Options(language="nl", batch_size=1, max_new_tokens=12))
    first, last = rounded.before[:13], rounded.before[-12 * 9 :]
    assert first == [0] + [1] * 12  # one round in vain
    assert last == ([0] + [1] * 11) * 9  # none


def test_the_chance_that_a_row_ends_follows_the_texts_that_ended():
    drafts = DraftChoice(4, lambda batch: None)
    before = [drafts.ends([length], DraftTree.chain(0)) for length in (0, 9)]
    for _ in range(50):
        for decoded in range(1, 11):
            drafts.observe(DraftTree.chain(0), (), 0, 1, decoded, decoded == 10)
    plain = [drafts.ends([length], DraftTree.chain(0)) for length in (0, 8, 9)]
    assert 0 < max(plain[:2]) < 0.01 < max(before) < 0.1 < 0.9 < plain[2]
    assert drafts.ends([8], DraftTree.chain(4)) > 0.9 > drafts.ends([1], DraftTree.chain(4))
    assert drafts.ends([1, 9], DraftTree.chain(0)) == pytest.approx(plain[2] / 2, abs=0.01)


def test_a_round_in_vain_stays_within_the_cache():
    """A text that ended at the length limit may be followed by 33 tokens, and then by 32 drafts."""
    main = tiny_whisper(4, suppressed=(1, 2, END))
    windows = features(3, 4)
    options = Options(language="nl", batch_size=3, draft_tokens=32)
    expected = Engine(main, cut(main, noise=0.0)).decode(windows, options)
    assert Engine(main, cut(main, noise=0.0), ahead=True).decode(windows, options) == expected
    assert sum(row.accepted for row in expected) > 60  # nearly all


def test_automatic_drafts_stay_exact_and_learn_from_rounds_that_are_alone(monkeypatch, rounded):
    main, windows = tiny_whisper(4), features(9, 4).repeat(4, 1, 1)
    expected = [row.tokens for row in Engine(main).decode(windows, Options(language="nl"))]
    engine = Engine(main, cut(main), ahead=True)
    rounded.before.clear()
    recorded_times, record = [], engine.round_times.record
    monkeypatch.setattr(
        engine.round_times, "record", lambda *given: (recorded_times.append(rounded.on_their_way), record(*given))
    )
    for batch_size in (1, 4):
        options = Options(language="nl", batch_size=batch_size)
        assert [row.tokens for row in engine.decode(windows, options)] == expected
    assert recorded_times
    assert not any(recorded_times)
    assert any(rounded.before)


def test_drafting_after_a_round_without_drafts_waits_until_the_assistant_can_be_fed_what_that_added(
    monkeypatch, rounded
):
    main, windows = tiny_whisper(4), features(9, 4)
    lengths = cycle([0, 0, 3, 3, 3])
    monkeypatch.setattr(DraftChoice, "choose", lambda *given: DraftTree.chain(next(lengths)))
    engine = Engine(main, cut(main, noise=0.0), ahead=True)
    rows = engine.decode(windows, Options(language="nl", batch_size=3))
    assert [row.accepted for row in rows] == [row.drafted for row in rows]  # for the assistant is the main
    assert sum(row.drafted for row in rows) > 30
    assert any(rounded.before)


def test_an_own_encoder_that_is_weighed_and_sampling_keep_the_rounds_in_turn(rounded):
    main, windows = tiny_whisper(4), features(4, 4)
    own = Engine(main, with_own_encoder(main, 0.1), ahead=True)
    expected = [row.tokens for row in Engine(main).decode(windows, Options(language="nl"))]
    assert [row.tokens for row in own.decode(windows, Options(language="nl"))] == expected
    engine = Engine(main, cut(main), ahead=True)
    assert [row.tokens for row in engine.decode(windows, Options(language="nl", confidence=0.4))] == expected
    sampled = Options(language="nl", temperature=1.0, seed=1)
    assert engine.decode(windows, sampled) == Engine(main, cut(main)).decode(windows, sampled)
    assert not any(rounded.before)


def test_a_second_try_goes_ahead_too():
    main, windows = tiny_whisper(4), features(5, 4)
    tries = Options(language="nl", batch_size=2, temperature=(0.0, 1e-3), log_probability_threshold=1.0)
    engines = Engine(main, cut(main)), Engine(main, cut(main), ahead=True)
    assert len({tuple(map(tuple, (row.tokens for row in each.decode(windows, tries)))) for each in engines}) == 1


def test_a_captured_round_is_read_before_the_next_one_overwrites_it():
    main, windows = tiny_whisper(4), features(9, 4)
    engine = recorded(main, cut(main), ahead=True)
    options = Options(language="nl", batch_size=4, draft_tokens=3, log_probabilities=True)
    found, expected = engine.decode(windows, options), Engine(main, cut(main)).decode(windows, options)
    assert [row.tokens for row in found] == [row.tokens for row in expected]
    assert [row.accepted_per_round for row in found] == [row.accepted_per_round for row in expected]


def test_rounds_are_measured_in_the_graphs_that_decode():
    main, windows = tiny_whisper(4), features(2, 4)
    engine = recorded(main, cut(main), ahead=True)
    engine.costs()
    measured = set(engine.graphs._captured)
    engine.decode(windows, Options(language="nl", batch_size=1, draft_tokens=4))
    more = [shape for _, shape in set(engine.graphs._captured) - measured]
    assert more
    assert all(shape.reads > 1 for shape in more)  # the first rounds, which read a prefix


def test_a_row_ends_where_its_round_would_end_it():
    main, windows = tiny_whisper(4), features(9, 4)
    seen, advance = [], Row.advance

    def checked(row, result):
        ends = row.ends(result)
        step = advance(row, result)
        seen.append((ends, row.done))
        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Row, "advance", checked)
        for draft_tokens in (0, 5, TREE):
            for limit in (None, 6):
                options = Options(language="nl", draft_tokens=draft_tokens, max_new_tokens=limit)
                Engine(main, cut(main)).decode(windows, options)
    assert all(before == after for before, after in seen)
    assert {after for _, after in seen} == {False, True}
