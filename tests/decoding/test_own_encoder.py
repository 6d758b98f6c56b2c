"""An assistant's own encoder runs for "auto" only where drafting saves more than it takes."""

import pytest
import torch

from tests.decoding.models import cut, features, tiny_whisper, with_own_encoder
from whisper_pair.decoding import Engine, Options, Times, encoders
from whisper_pair.decoding.own_encoder import OwnEncoder, work
from whisper_pair.decoding.rounds import Rounds

AUTO = Options(language="nl", batch_size=3)


class Machine:
    """A clock that moves by what is done: seconds a window of the main's encoder, of the assistant's, and of a round
    with nothing drafted; a round of g drafts takes (1 + g draft) as long."""

    def __init__(self, monkeypatch, encoder, own, step, draft=0.1):
        self.now, self.own_windows, self.step, self.draft = 0.0, 0, step, draft
        self.encoder_seconds, self.own_seconds = encoder, own
        monkeypatch.setattr("whisper_pair.decoding.engine.clock_of", lambda device: lambda: self.now)

    def round(self, tree):
        return self.step * (1 + len(tree) * self.draft)

    def drive(self, engine, patch):
        plain, submit = encoders.encode, Rounds.submit

        def encode(encoder, windows):
            its = encoder is engine.encoders.draft
            self.own_windows += its * len(windows)
            self.now += (self.own_seconds if its else self.encoder_seconds) * len(windows)
            return plain(encoder, windows)

        def rounds(state, inputs, shape):
            self.now += self.round(shape.tree)
            return submit(state, inputs, shape)

        patch.setattr("whisper_pair.decoding.encoders.encode", encode)
        patch.setattr("whisper_pair.decoding.rounds.Rounds.submit", rounds)


def pair(noise):
    main = tiny_whisper(4)
    return main, with_own_encoder(main, noise)


def decoded(windows, noise=0.05, **costs):
    """The pair's machine, its rows, and the seconds of the main alone."""
    main, draft = pair(noise)
    found = []
    for engine in (Engine(main), Engine(main, draft)):
        with pytest.MonkeyPatch.context() as patch:
            machine = Machine(patch, **costs)
            machine.drive(engine, patch)
            found.append((machine, engine.decode(windows, AUTO)))
    (alone, expected), (machine, rows) = found
    assert [row.tokens for row in rows] == [row.tokens for row in expected]
    return machine, rows, alone.now


def test_an_encoder_dearer_than_all_of_the_mains_decoding_is_never_run():
    machine, rows, alone = decoded(features(12, 4), encoder=1.0, own=1.0, step=0.001)
    assert machine.own_windows == 0
    assert sum(row.drafted for row in rows) == 0
    assert machine.now == pytest.approx(alone)


def test_an_assistant_that_does_not_agree_costs_one_window_of_its_encoder_and_no_draft():
    machine, rows, _ = decoded(features(24, 4), noise=3.0, encoder=1.0, own=0.9, step=0.5)
    assert machine.own_windows == 1
    assert sum(row.drafted for row in rows) == 0


def test_an_assistant_whose_drafts_are_dear_is_found_out_by_the_measured_rounds():
    machine, rows, alone = decoded(features(24, 4), noise=0.0, encoder=1.0, own=0.1, step=1.0, draft=1.5)
    assert machine.own_windows <= 1 + 3 * AUTO.batch_size
    assert sum(row.drafted for row in rows) <= 2 * 3 * AUTO.batch_size
    assert machine.now < 1.1 * alone  # 68 rounds of the main alone: in so short a call two tries show


def test_one_that_pays_drafts_after_the_first_windows():
    machine, rows, alone = decoded(features(24, 4), noise=0.0, encoder=1.0, own=0.1, step=1.0, draft=0.02)
    assert machine.own_windows > 15
    assert sum(row.drafted for row in rows[6:]) > 0
    assert machine.now < alone


@pytest.mark.parametrize(("own", "step", "noise"), [(0.4, 0.016, 3.0), (0.4, 0.3, 3.0), (0.15, 0.6, 1.0)])
def test_over_24_clips_auto_is_no_slower_than_the_main_alone(own, step, noise):
    """Drafts that cost what whisper-tiny's do for whisper-base on a CPU; short texts and long ones."""
    machine, _, alone = decoded(features(24, 4), noise=noise, encoder=1.0, own=own, step=step, draft=0.6)
    assert machine.now <= alone / 0.97


def test_an_encoder_tiny_beside_the_mains_is_used_at_once_and_given_up_where_drafting_does_not_pay():
    for noise, all_of_them in ((0.0, True), (3.0, False)):
        main, draft = pair(noise)
        engine = Engine(main, draft)
        engine._encoder_ratio = 0.04
        engine.round_times.learn(4, False, Times({0: 1.0, 1: 1.5, 2: 1.6, 4: 1.8}))
        engine.round_times.learn(1, False, Times({0: 1.0, 1: 1.5, 2: 1.6, 4: 1.8}))
        with pytest.MonkeyPatch.context() as patch:
            machine = Machine(patch, encoder=1.0, own=0.04, step=0.001)
            machine.drive(engine, patch)
            rows = engine.decode([*features(12, 4)] * 4, AUTO)
        assert rows[0].drafted > 0
        assert (machine.own_windows == 48) == all_of_them


def test_a_fixed_draft_length_always_uses_it():
    main, draft = pair(0.05)
    engine = Engine(main, draft)
    rows = engine.decode(features(4, 4), Options(language="nl", batch_size=2, draft_tokens=3))
    assert all(row.drafted for row in rows)


def test_an_assistant_that_shares_the_encoder_is_never_weighed(monkeypatch):
    main = tiny_whisper(4)
    monkeypatch.setattr(OwnEncoder, "weigh", lambda *given: pytest.fail("was weighed"))
    Engine(main, cut(main)).decode(features(4, 4), AUTO)


def test_encoder_states_that_are_given_are_used(monkeypatch):
    main, draft = pair(0.0)
    engine = Engine(main, draft)
    engine.round_times.learn(4, False, Times({0: 1.0, 1: 1.0, 2: 1.0}))
    engine.round_times.learn(1, False, Times({0: 1.0, 1: 1.0, 2: 1.0}))
    windows = features(4, 4)
    with torch.inference_mode():
        states = [model.model.encoder(windows).last_hidden_state for model in (main, draft)]
    rows = engine.decode(encoder_states=states[0], draft_states=states[1], options=AUTO)
    assert all(row.drafted for row in rows)


def test_an_encoders_work_is_by_its_size():
    main = tiny_whisper(0)
    assert work(main.config) == 1 * (12 * 16**2 + 2 * 20 * 16)
