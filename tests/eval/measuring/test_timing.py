"""Clocks, what is called a gain, and where the time goes."""

import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.measuring.parts import parts_of
from eval.measuring.timing import Timing, interleaved, speedup
from tests.eval.measuring.samples import COSTS
from whisper_pair.report.wording import gain_text

CPU = torch.device("cpu")


@st.composite
def cells_of_one(draw):
    """A contender's cells, [chunks, passes]."""
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    seconds = st.floats(1e-3, 10.0)
    return np.array([[draw(seconds) for _ in range(shape[1])] for _ in range(shape[0])])


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when a test moves it."""
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("time.perf_counter", lambda: now.seconds)
    return now


def worker(clock, seconds: float, first: float = 0.0):
    """An action whose first call of all takes `first` seconds longer."""
    state = {"cold": first}

    def action(chunk: int) -> int:
        clock.seconds += seconds * (chunk + 1) + state.pop("cold", 0.0)
        return chunk

    return action


def test_warm_up_is_never_on_the_clock(clock):
    (timing_,), answers = interleaved([worker(clock, 1.0, first=100.0)], 2, 3, CPU)
    assert timing_.cells.tolist() == [[1.0] * 3, [2.0] * 3]
    assert timing_.seconds == 3.0
    assert timing_.steady
    assert answers == [[0, 1]]


def test_a_clock_that_includes_warm_up_is_caught_and_gives_no_gain():
    """Planted fault: the first pass holds what the warm-up should have taken."""
    cold = np.array([[9.0, 1.0, 1.0]] * 4)
    warm = np.array([[0.5] * 3] * 4)
    assert not Timing(cold).steady
    assert speedup(Timing(cold), Timing(warm)).verdict == "unclear"
    assert speedup(Timing(np.ones((4, 3))), Timing(warm)).verdict == "faster"


def test_a_gain_whose_interval_holds_1_is_not_called_one():
    rng = np.random.default_rng(5)
    base = Timing(1 + 0.2 * rng.random((6, 3)))
    assert speedup(base, Timing(1 + 0.2 * rng.random((6, 3)))).verdict == "unclear"
    assert speedup(base, Timing(0.5 + 0.1 * rng.random((6, 3)))).verdict == "faster"
    assert speedup(base, Timing(2 + 0.1 * rng.random((6, 3)))).verdict == "slower"


def test_too_few_timings_are_no_gain_however_clear():
    assert speedup(Timing(np.ones((1, 4))), Timing(np.ones((1, 4)) / 3)).verdict == "unclear"


@pytest.mark.parametrize(
    ("interval", "verdict", "steady", "message"),
    [
        ([1.4, 1.6], "faster", True, "1.50x (1.40 to 1.60)"),
        ([0.9, 1.6], "unclear", True, "1.50x (0.90 to 1.60), no clear difference"),
        ([1.4, 1.6], "unclear", True, "1.50x (1.40 to 1.60), too few timings to tell"),
        ([1.4, 1.6], "unclear", False, "1.50x (1.40 to 1.60), still warming up"),
    ],
)
def test_why_a_speedup_is_no_gain_is_said(interval, verdict, steady, message):
    row = {"engine": "pair", "mode": "speculative", "speedup": 1.5}
    assert gain_text(row | {"speedup_interval": interval, "speedup_verdict": verdict, "steady": steady}) == message


@given(cells_of_one())
def test_a_pass_is_between_its_quartiles(cells):
    """Their sum over chunks; the least and greatest whole pass need not hold the sum of the medians."""
    timing_ = Timing(cells)
    low, high = timing_.quartiles
    assert low <= timing_.seconds * (1 + 1e-12)
    assert timing_.seconds <= high * (1 + 1e-12)


@pytest.mark.parametrize("seconds", [10.0, 0.5])
def test_parts_that_were_measured_apart_leave_no_negative_rest(seconds):
    decoded = types.SimpleNamespace(rounds=10)
    contender = types.SimpleNamespace(engine="pair", mode="speculative", assistant="ours", schedule="constant",
                                      draft_tokens=2)  # fmt: skip
    found = [types.SimpleNamespace(decoded=decoded)] * 2
    encoder = {"batch_size": 1, "main": 0.4, "assistant": None}
    parts = parts_of(contender, seconds, found, [1, 1], encoder, {1: COSTS})
    assert sum(parts.values()) == pytest.approx(seconds)
    assert min(parts.values()) >= 0
    assert parts["encoder"] / parts["draft"] == pytest.approx(0.4 / (20 * 2 * 0.001))
    assert (parts["rest"] > 1e-9) is (seconds == 10.0)


def test_fewer_timings_give_wider_intervals():
    rng = np.random.default_rng(6)

    def width(chunks: int) -> float:
        one, other = (Timing(1 + rng.random((chunks, 2))) for _ in range(2))
        low, high = speedup(one, other).interval
        return high - low

    assert np.mean([width(4) for _ in range(10)]) > 1.5 * np.mean([width(24) for _ in range(10)])


def test_the_interval_is_that_of_the_figure_beside_it():
    """One pass in three was disturbed in every chunk, another one each time. Medians do not see it, and 2.00x is the
    figure; means of single passes do, and made (0.42, 0.92) of it, "slower"."""
    contender = np.ones((24, 3))
    for chunk in range(24):
        contender[chunk, chunk % 3] = 9.0
    rng = np.random.default_rng(0)
    single = 2 * 24 / contender[rng.integers(24, size=(500, 24)), rng.integers(3, size=(500, 24))].sum(1)
    assert np.quantile(single, 0.975) < 1  # what was printed
    found = speedup(Timing(np.full((24, 3), 2.0)), Timing(contender))
    low, high = found.interval
    assert found.ratio == 2.0
    assert low < found.ratio <= high
    assert found.verdict != "slower"


@st.composite
def two_timings(draw):
    """Two contenders' cells, [chunks, passes], over four orders of magnitude."""
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    seconds = st.floats(1e-3, 10.0)
    return tuple(
        np.array([[draw(seconds) for _ in range(shape[1])] for _ in range(shape[0])], dtype=float) for _ in range(2)
    )


@settings(max_examples=60, deadline=None)
@given(two_timings(), st.sampled_from([0.125, 0.5, 2.0, 1024.0]))
def test_a_speedup_is_within_its_interval_and_independent_of_the_unit_of_time(cells, unit):
    one, other = cells
    found = speedup(Timing(one), Timing(other))
    low, high = found.interval
    assert low <= found.ratio <= high
    assert (found.verdict == "faster") <= (found.ratio > 1)
    assert speedup(Timing(unit * one), Timing(unit * other)) == found  # powers of two: exact
    scaled = speedup(Timing(unit * one), Timing(other))
    assert scaled.ratio == pytest.approx(unit * found.ratio)
    assert scaled.interval == pytest.approx((unit * low, unit * high))


def test_joules_are_those_of_a_pass(clock):
    def act(chunk: int) -> None:
        clock.seconds += 2.0

    (timing_,), _ = interleaved([act], 3, 2, CPU, joules=lambda: 10 * clock.seconds)
    assert timing_.joules == pytest.approx(60)
