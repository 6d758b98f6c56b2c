"""Encoding beside the rounds: what waits for what, on streams that only note it; and the same tokens."""

from contextlib import contextmanager

import pytest
import torch

from tests.decoding.models import cut, features, tiny_whisper, with_own_encoder
from whisper_pair.decoding import encoders
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.rounds import Rounds


class Stream:
    device = torch.device("cpu")

    def __init__(self, name, seen):
        self.name, self.seen = name, seen

    def wait_stream(self, other):
        self.seen.append(f"{self.name} waits for {other.name}")


class Streams:
    """Two streams, and in order what was done on which."""

    def __init__(self, patch):
        self.seen = []
        self.rounds, self.side = Stream("rounds", self.seen), Stream("side", self.seen)
        self.current, self.recorded = self.rounds, []
        submit, encode = Rounds.submit, encoders.encode
        patch.setattr(Rounds, "submit", lambda *given: (self.note("round"), submit(*given))[1])
        patch.setattr(encoders, "encode", lambda *given: (self.note(f"{len(given[1])} encoded"), encode(*given))[1])
        patch.setattr(torch.cuda, "current_stream", lambda device=None: self.current)
        patch.setattr(torch.cuda, "stream", self.within)
        patch.setattr(torch.Tensor, "record_stream", lambda *given: self.record(*given))
        patch.setattr("whisper_pair.decoding.engine.stream_beside", lambda device: self.side)

    def note(self, what):
        self.seen.append(f"{what} on {self.current.name}")

    @contextmanager
    def within(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    def record(self, tensor, stream):
        assert stream is self.rounds
        self.recorded.append((tensor.data_ptr(), tuple(tensor.shape)))


@pytest.fixture
def streams(monkeypatch):
    return Streams(monkeypatch)


def beside(main, draft=None):
    engine = Engine(main, draft)
    engine.side_stream = True  # as on CUDA
    return engine


OPTIONS = Options(language="nl", batch_size=2, draft_tokens=3)


def test_windows_are_encoded_on_the_side_while_a_round_is_on_its_way_and_awaited_before_they_are_decoded(streams):
    main, windows = tiny_whisper(4), features(5, 4)
    expected = Engine(main, cut(main)).decode(windows, OPTIONS)
    streams.seen.clear()
    assert beside(main, cut(main)).decode(windows, OPTIONS) == expected
    seen = streams.seen
    assert seen[:5] == [
        "side waits for rounds",  # features that the caller's stream may still be making
        "2 encoded on side",
        "rounds waits for side",
        "round on rounds",
        "2 encoded on side",  # one batch ahead
    ]
    assert sum(each.endswith("encoded on side") for each in seen) == 3
    assert not any(each.endswith("encoded on rounds") for each in seen)
    for place, each in enumerate(seen):  # what a row needs was awaited after it was encoded and before its first round
        if each.endswith("encoded on side"):
            assert "rounds waits for side" in seen[place:]
    assert len(streams.recorded) == 2 * 5  # each window's encoder states, as the main's and as the draft's


def test_an_own_encoder_runs_on_the_side_too_unless_its_worth_is_weighed(streams):
    main, windows = tiny_whisper(4), features(5, 4)
    expected = [row.tokens for row in Engine(main).decode(windows, OPTIONS)]
    for draft_tokens, stream in ((3, "side"), ("auto", "rounds")):
        streams.seen.clear()
        options = Options(language="nl", batch_size=2, draft_tokens=draft_tokens)
        rows = beside(main, with_own_encoder(main, 0.1)).decode(windows, options)
        assert [row.tokens for row in rows] == expected
        assert {each.split()[-1] for each in streams.seen if "encoded" in each} == {stream}


def test_windows_and_rounds_ahead_go_together(streams):
    main, windows = tiny_whisper(4), features(9, 4)
    expected = [row.tokens for row in Engine(main).decode(windows, OPTIONS)]
    engine = Engine(main, cut(main), ahead=True)
    engine.side_stream = True
    for given in (windows, iter(windows)):
        assert [row.tokens for row in engine.decode(given, OPTIONS)] == expected


def test_without_it_every_window_is_encoded_where_the_rounds_run_and_when_it_is_needed(streams):
    main, windows = tiny_whisper(4), features(5, 4)
    Engine(main, cut(main), side_stream=True).decode(windows, OPTIONS)  # a CPU has no streams
    assert streams.seen[:2] == ["2 encoded on rounds", "round on rounds"]
    assert all(each.endswith("on rounds") for each in streams.seen)
    assert streams.recorded == []
