"""The figures of an evaluation by themselves: intervals, token classes, the cost model, clocks, leaks, comparisons."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.measuring import ctranslate, memory, timing
from eval.measuring.acceptance import BOUNDS, acceptance_section, agreement_by_group, least_accepted
from eval.measuring.bootstrap import difference_interval, ratio_intervals
from eval.measuring.cost import diluted, improved_length, prediction_section
from eval.measuring.energy import joule_counter
from eval.measuring.longform import recordings
from eval.measuring.parts import parts_of
from eval.measuring.timing import Timing, interleaved, speedup
from eval.measuring.tokens import token_class
from eval.measuring.trees import tree_rows
from tests.decoding.models import END, FIRST_TIMESTAMP, tiny_whisper
from whisper_pair.config.schema import Data, Eval
from whisper_pair.data.clips import Clip
from whisper_pair.decoding.acceptance import TokenMatches, TokenRanks, acceptances
from whisper_pair.decoding.draft_length import Costs
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.special_tokens import SpecialTokens
from whisper_pair.decoding.tree import DraftTree
from whisper_pair.report.wording import gain_text

SPECIAL = SpecialTokens.of(tiny_whisper())
CPU = torch.device("cpu")
COSTS = Costs(1, draft=0.001, verify=dict.fromkeys((0, 1, 2, 4, 8, 16), 0.01), rounds=dict.fromkeys(range(17), 0.01))


def matches(utterances: int = 30, seed: int = 0, chance: float = 0.8) -> list[TokenMatches]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(utterances):
        length = int(rng.integers(1, 20))
        tokens = [*rng.integers(0, 50, length).tolist(), END]
        choices = [token if rng.random() < chance else 51 for token in tokens]
        found.append(TokenMatches.of(tokens, choices, END, 40))
    return found


# Intervals


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        wholes = rng.integers(5, 30, 60)
        (low, high), *_ = ratio_intervals([rng.binomial(wholes, 0.3)], [wholes])
        covered += low <= 0.3 <= high
    assert 88 <= covered <= 100


def test_a_paired_difference_is_sharper_than_its_two_figures():
    rng = np.random.default_rng(2)
    wholes = rng.integers(5, 30, 80)
    hard = rng.binomial(wholes, rng.beta(1, 1, 80))  # some utterances are hard for everyone
    worse = np.minimum(hard + (rng.random(80) < 0.5), wholes)
    (low, high), *_ = ratio_intervals([hard], [wholes])
    below, above = difference_interval((hard, wholes), (worse, wholes))
    assert 0 < below < above
    assert above - below < (high - low) / 3


def test_an_interval_of_nothing_or_of_one_utterance_is_none():
    assert ratio_intervals([[0, 0]], [[0, 0]]) == [None]
    assert ratio_intervals([[3, 0]], [[5, 0]]) == [None]
    assert difference_interval(([3, 0], [5, 0]), ([2, 0], [5, 0])) is None


# Acceptance


def test_every_draft_length_has_its_histogram_and_intervals():
    some = matches()
    section = acceptance_section(some, COSTS)
    truth = acceptances(some)
    assert [row["draft_tokens"] for row in section["by_draft_tokens"]] == list(range(1, 17))
    for row in section["by_draft_tokens"]:
        found = truth[row["draft_tokens"]]
        assert row["acceptance_rate"] == found.acceptance_rate
        assert sum(row["accepted_histogram"]) == row["rounds"] == found.rounds
        assert sum(k * count for k, count in enumerate(row["accepted_histogram"])) == row["accepted"]
        for name in ("acceptance_rate", "mean_accepted_length"):
            low, high = row[f"{name}_interval"]
            assert low <= row[name] <= high
    low, high = section["agreement_interval"]
    assert low < section["agreement"] < high


@pytest.mark.parametrize(
    ("token", "piece", "first", "said"),
    [
        (1, " huis", False, "word start"),
        (1, "huis", False, "word inside"),
        (1, "Huis", True, "word start"),
        (2, ",", False, "punctuation"),
        (2, " «", False, "punctuation"),
        (3, " 12", False, "digits"),
        (4, "\ufffd", False, "word inside"),
        (END, "", False, "end of text"),
        (END + 3, "", False, "special"),
        (FIRST_TIMESTAMP, "", False, "timestamp"),
        (FIRST_TIMESTAMP + 5, "", True, "timestamp"),
    ],
)
def test_a_token_is_of_one_kind(token, piece, first, said):
    assert token_class(SPECIAL.kind(token), piece, first) == said


def test_groups_of_tokens_add_up_to_all_of_them():
    tokens = [[1, 2, 3, END], [1, END]]
    some = [TokenMatches.of(tokens[0], [1, 9, 3, END], END, 9), TokenMatches.of(tokens[1], [9, END], END, 9)]
    pieces = {1: " een", 2: "tje", 3: "3", END: ""}.__getitem__
    section = agreement_by_group(some, tokens, pieces, SPECIAL)
    kinds = {row["name"]: (row["tokens"], row["agreed"]) for row in section["by_token_class"]}
    assert kinds == {"word start": (2, 1), "word inside": (1, 0), "digits": (1, 1), "end of text": (2, 2)}
    for rows in section.values():
        assert sum(row["tokens"] for row in rows) == 6
        assert sum(row["agreed"] for row in rows) == 4
    assert [row["name"] for row in section["by_length"]] == [f"{BOUNDS[0]} to {BOUNDS[1] - 1}", "4 to 7"]


def test_the_tokens_most_often_rejected_are_shown_where_they_stand():
    tokens = [[1, 2, 7, END], [2, 7, END], [7, 1, 1, END]]
    choices = [[1, 2, 9, END], [2, 7, END], [9, 1, 1, END]]
    some = [TokenMatches.of(t, c, END, 9) for t, c in zip(tokens, choices, strict=True)]
    (worst, *others) = least_accepted(some, tokens, choices, ["a", "b", "c"], lambda token: f"<{token}>")
    assert not others  # the rest is never rejected
    assert (worst["text"], worst["tokens"], worst["agreed"]) == ("<7>", 3, 1)
    assert worst["examples"][0] == {"clip": "a", "before": "<1><2>", "assistant": "<9>"}


# The cost model


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


# Clocks


@st.composite
def cells_of_one(draw):
    """A contender's cells, [chunks, passes]."""
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    seconds = st.floats(1e-3, 10.0)
    return np.array([[draw(seconds) for _ in range(shape[1])] for _ in range(shape[0])])


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when it is told to."""
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now.seconds)
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
    ("interval", "verdict", "steady", "said"),
    [
        ([1.4, 1.6], "faster", True, "1.50x (1.40 to 1.60)"),
        ([0.9, 1.6], "unclear", True, "1.50x (0.90 to 1.60), no clear difference"),
        ([1.4, 1.6], "unclear", True, "1.50x (1.40 to 1.60), too few timings to tell"),
        ([1.4, 1.6], "unclear", False, "1.50x (1.40 to 1.60), still warming up"),
    ],
)
def test_why_a_speedup_is_no_gain_is_said(interval, verdict, steady, said):
    row = {"engine": "pair", "mode": "speculative", "speedup": 1.5}
    assert gain_text(row | {"speedup_interval": interval, "speedup_verdict": verdict, "steady": steady}) == said


@given(cells_of_one())
def test_a_pass_lies_between_its_quartiles(cells):
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
def test_a_speedup_lies_in_its_interval_and_knows_no_unit_of_time(cells, unit):
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


# A GPU's joules and bytes, where there is no GPU: the same interfaces, answered by stand-ins


@pytest.fixture
def nvml(monkeypatch):
    """NVIDIA's management library on a machine with one GPU, which spends 250 J between two readings."""

    class NVMLError(Exception):
        pass

    spent = iter(range(1_000_000, 9_000_000, 250_000))  # millijoules
    module = types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID={"GPU-1234": "the GPU"}.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: {"the GPU": next(spent)}[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="1234"))
    return module


def test_joules_are_read_from_the_gpu_that_decodes(nvml):
    read = joule_counter(torch.device("cuda"))
    before = read()
    assert read() - before == 250.0
    assert joule_counter(CPU) is None


def test_a_gpu_without_such_a_counter_reports_no_energy(nvml, monkeypatch):
    def refuse(handle):
        raise nvml.NVMLError("Not Supported")

    nvml.nvmlDeviceGetTotalEnergyConsumption = refuse
    assert joule_counter(torch.device("cuda")) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert joule_counter(torch.device("cuda")) is None


def test_peak_memory_is_weights_and_what_decoding_takes_beyond_what_lay_there(monkeypatch):
    """The allocator is a stand-in: an engine takes 1000 bytes when it is made (1400 with an assistant), 500 more while
    it decodes, and what the evaluation's engines hold is given back before."""
    held = types.SimpleNamespace(now=7000, peak=7000)

    def take(count: int) -> None:
        held.now += count
        held.peak = max(held.peak, held.now)

    def engine(main, assistant=None, vocabulary=None):
        take(1000 if assistant is None else 1400)

    def ours(engine, options, mode, name, drafts):
        return types.SimpleNamespace(decode=lambda features, batch_size: take(500))

    for name, act in {
        "synchronize": lambda device: None,
        "empty_cache": lambda: None,
        "memory_allocated": lambda device: held.now,
        "max_memory_allocated": lambda device: held.peak,
        "reset_peak_memory_stats": lambda device: setattr(held, "peak", held.now),
    }.items():
        monkeypatch.setattr(torch.cuda, name, act)
    monkeypatch.setattr(memory, "Engine", engine)
    monkeypatch.setattr(memory, "ours", ours)
    main = torch.nn.Linear(100, 1, bias=False)
    main.device = torch.device("cuda")
    assistant = types.SimpleNamespace(name="ours", model=torch.nn.Linear(10, 5, bias=False), vocabulary=None)
    released = []
    engines = types.SimpleNamespace(main=main, assistants=[assistant], release=lambda: released.append(held.now))
    section = memory.memory_section(engines, torch.zeros(9, 1), None, 8)
    assert released == [7000]
    assert section["main_peak_megabytes"] == pytest.approx((400 + 1500) / 1e6)
    assert section["pair_peak_megabytes"] == pytest.approx((400 + 200 + 1900) / 1e6)


# Other engines


def test_faster_whisper_is_asked_for_the_work_of_everyone_else():
    special = types.SimpleNamespace(
        suppressed=(7, 8),
        suppressed_first=(9,),
        language_token={"nl": 2}.__getitem__,
        prefix=lambda language, task, timestamps, prompt: [1, language, 3, 4],
        limit=lambda prefix, most: 448,
    )
    asked = ctranslate.settings(special, Options(language="nl"))
    new = min(asked["max_length"] // 2, asked["max_length"] - 4)  # as CTranslate2 counts
    assert new == 448 - 4
    assert (asked["prompts"], asked["beam_size"]) == ([[1, 2, 3, 4]], 1)
    assert (asked["suppress_tokens"], asked["suppress_blank"]) == ([7, 8], True)


def test_a_contender_that_is_missing_is_accounted_for(monkeypatch):
    main = types.SimpleNamespace(dtype=torch.bfloat16)
    monkeypatch.setattr(ctranslate, "installed", lambda: False)
    assert ctranslate.contenders(main, None, None)[1][0].startswith("faster-whisper, which is not installed")

    def refuse(*_):
        raise ValueError("no such\n  type")

    monkeypatch.setattr(ctranslate, "installed", lambda: True)
    monkeypatch.setattr(ctranslate, "faster_whisper", refuse)
    found, reasons = ctranslate.contenders(main, None, None)
    assert not found
    assert reasons == ["faster-whisper, which cannot take this main in bfloat16 (no such type)."]


# Long recordings


def clip(number: int, speaker: str | None, seconds: float = 3.0) -> Clip:
    return Clip(f"clip {number}", Path("nowhere"), seconds, f"text {number}", speaker)


def asking(minutes: float = 1.0):
    """A config, as far as choosing recordings reads it."""
    return types.SimpleNamespace(eval=Eval(long_form_minutes=minutes), data=Data((), (), ()))


def test_recordings_hold_one_speaker_in_order_and_pass_a_window():
    clips = [clip(i, "ab"[i % 2]) for i in range(40)]
    found = recordings(asking(), clips, [], 10.0)
    assert len(found.windows) == 3  # of about 19 s
    for window in found.windows:
        assert 12.5 <= window.seconds <= 20
        assert len({c.speaker for c in window.clips}) == 1
        assert list(window.clips) == sorted(window.clips, key=clips.index)
    half = recordings(asking(minutes=0.5), clips, [], 10.0)
    assert sum(w.seconds for w in half.windows) == pytest.approx(30, abs=10)


def test_a_long_test_clip_is_a_recording_as_it_is_unless_it_takes_all_minutes():
    long = [clip(1, None, 25.0), clip(2, None, 4000.0)]
    found = recordings(asking(), [], long, 10.0)
    assert [window.clips for window in found.windows] == [(long[0],)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"minutes": 0}, "eval.long_form_minutes is 0."),
        ({}, "no speaker's test clips, joined, last 12.5 s, which is 1.25 windows."),
    ],
)
def test_where_there_are_no_long_recordings_a_sentence_says_why(given, said):
    assert recordings(asking(**given), [clip(1, "a"), clip(2, "b")], [], 10.0).skipped == said


def test_trees_are_rated_by_what_they_win_on_the_test_clips_and_what_they_cost_here():
    found = [TokenRanks((0, 1, 0, 2), (9,) * 4, False, 4), TokenRanks((1, 0, 5), (9,) * 3, False, 3)]
    tree, other = DraftTree.of([(0,), (1,), (0, 1), (1, 0)]), DraftTree.of([(0,), (1,)])
    costs = Costs(1, 0.1, {0: 1.0, 4: 1.4}, {0: 2.0, 1: 2.2}, {2: 0.2}, {tree.text: 3.0})
    rated, cheap = tree_rows(found, [tree, other], costs)
    assert (rated["nodes"], rated["depth"], rated["paths"]) == (4, 2, tree.text.split())
    assert rated["rounds"] == 3  # 0 1 and the main's 0; 2 is no choice of the tree; 1 0 and the main's own
    assert rated["mean_accepted_length"] == 1 + 4 / 3
    assert rated["position_joint"] == [2 / 3, 2 / 3]
    assert rated["predicted_speedup"] == pytest.approx((1 + 4 / 3) / 1.5)  # its round was measured
    assert cheap["predicted_speedup"] == pytest.approx(cheap["mean_accepted_length"] / (0.1 + 1.2))  # from its pieces
