"""Steps on windows as long as their speech: which clips they take, and what is trained on them."""

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.finetune import FROZEN_ENCODER, finetune
from whisper_pair.checkpoints import Capabilities
from whisper_pair.checkpoints.load import load_main
from whisper_pair.config import ShortWindows, load_config
from whisper_pair.errors import InputError
from whisper_pair.training.plan import Plan
from whisper_pair.training.short_steps import Draw, EqualSteps, ShortSteps

FULL = 1500


def short_steps(seconds=(1.0, 2.0, 4.0, 8.0, 29.0), windows=2, share=0.8, margin=(0.3, 2.0), seed=0) -> ShortSteps:
    return ShortSteps.of(ShortWindows(share, margin), seconds, windows, FULL, 100, seed)


lengths = st.lists(st.floats(0.1, 30.0), min_size=1, max_size=60)


@given(lengths, st.integers(1, 8), st.integers(0, 5))
def test_every_clip_is_in_an_epoch_and_no_window_ends_before_its_speech(seconds, windows, seed):
    steps = short_steps(seconds, windows, seed=seed)
    for epoch in range(2):
        draws = [draw for i in range(len(steps.groups)) for draw in steps.draws(epoch * len(steps.groups) + i)]
        assert {draw.sample - 100 for draw in draws} == set(range(len(seconds)))
        for draw in draws:
            assert draw.frames >= min(FULL, 50 * (seconds[draw.sample - 100] + 0.3))
            assert draw.frames <= FULL


@given(lengths, st.integers(1, 8))
def test_a_step_costs_the_encoder_at_most_about_what_one_of_full_windows_costs(seconds, windows):
    steps = short_steps(seconds, windows)
    for number in range(len(steps.groups)):
        draws = steps.draws(number)
        assert len({draw.frames for draw in draws}) == 1
        assert len(draws) * draws[0].frames <= 1.15 * windows * FULL


def test_the_clips_of_a_step_are_of_similar_length_and_have_other_neighbours_in_the_next_epoch():
    seconds = [1 + 0.01 * i for i in range(1000)]
    steps = short_steps(seconds, windows=4)
    for number in range(len(steps.groups)):
        found = [seconds[draw.sample - 100] for draw in steps.draws(number)]
        assert max(found) <= 1.6 * min(found) + 0.2
    first, second = (
        {frozenset(draw.sample for draw in steps.draws(epoch * len(steps.groups) + i)) for i in range(20)}
        for epoch in (0, 1)
    )
    assert not first & second


@given(st.floats(0.01, 0.99), st.integers(1, 400))
def test_short_steps_are_spread_evenly_in_their_share(share, steps):
    short = short_steps(share=share)
    assert sum(short.is_short(step) for step in range(steps)) == short.before(steps)
    assert abs(short.before(steps) - share * steps) <= 1


@given(lengths, st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(0, 3))
def test_a_step_takes_the_same_windows_however_they_are_spread(seconds, batch, spread, processes, seed):
    def steps(batch_size: int, accumulation: int, processes: int) -> list[list[Draw]]:
        plan = Plan(10, batch_size, accumulation, processes, 2.0, seed)
        plan = replace(plan, short=short_steps(seconds, plan.per_step, seed=seed))
        shares = [list(plan.micro_batches(0, process)) for process in range(processes)]
        assert all(len(part) > 0 and len({draw.frames for draw in part}) == 1 for share in shares for part in share)
        return [
            sorted({d for share in shares for part in share[at : at + accumulation] for d in part}, key=lambda d: d[:2])
            for at in range(0, plan.steps * accumulation, accumulation)
        ]

    assert steps(batch * spread * processes, 1, 1) == steps(batch, spread, processes)


def test_full_steps_go_through_the_same_stream_as_without_short_ones():
    plan = Plan(10, 2, 2, 1, 2.0, 3)
    mixed = replace(plan, short=short_steps([4.0] * 70, windows=plan.per_step, share=0.5))
    micro = list(mixed.micro_batches(0, 0))
    full = [part for part in micro if part[0].frames is None]
    assert full == list(plan.micro_batches(0, 0))[: len(full)]
    assert abs(len(full) - len(micro) / 2) <= mixed.accumulation / 2


def test_a_resumed_run_goes_on_with_the_batches_that_it_would_have_had():
    plan = Plan(10, 2, 2, 1, 4.0, 3)
    plan = replace(plan, short=short_steps(windows=plan.per_step, seconds=[0.5 * i for i in range(1, 40)]))
    again = replace(plan, short=replace(plan.short))
    whole = list(plan.micro_batches(0, 0))
    assert whole[2 * 7 :] == list(again.micro_batches(7, 0))


def test_an_epoch_has_seen_the_speech_once_in_windows_of_either_length():
    plan = Plan(40, 4, 1, 1, 3.0, 0)
    plan = replace(plan, short=short_steps([4.0] * 200, windows=4, share=0.8))
    assert len(plan.short.groups) == 10
    assert plan.steps == 30
    assert plan.epochs_at(plan.steps) == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(("steps", "epochs"), [(19, 1.0), (9, 3.0), (7, 0.5)])
def test_windows_of_equal_length_take_the_steps_of_their_epochs_and_none_more(steps, epochs):
    plan = Plan(1, 1, 1, 1, epochs, 0, EqualSteps((FULL,) * steps, 1, FULL, 0))
    assert plan.steps == math.ceil(steps * epochs)


# The stage


WEIGHTS = {
    "decoder": {"parameters": "decoder"},
    "all": {"parameters": "all"},
    "lora": {"parameters": "lora", "lora": {"rank": 2}},
    "lora in the encoder": {"parameters": "lora", "lora": {"rank": 2, "encoder": True}, "gradient_checkpointing": True},
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("pack", [True, False])
def test_a_main_is_trained_on_short_windows_and_says_so(weights, pack, demo_data, write_config, tmp_path, caplog):
    train = {"short_windows": {"share": 0.5, "margin": [0.2, 0.5]}, "spec_augment": {}} | WEIGHTS[weights]
    config = load_config(write_config(tmp_path / "pair.yaml", train=train, data={"pack": pack}))
    folder = finetune(config)
    before, after = (load_main(at, torch.float32).state_dict() for at in (demo_data / "micro-whisper", folder))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    trained = weights in ("all", "lora in the encoder")
    assert any(".decoder.layers." in name for name in moved)
    assert any(".encoder.layers." in name for name in moved) == trained
    assert not any("encoder.embed_positions" in name for name in moved)
    found = Capabilities.load(folder).short_windows
    assert (found.share, found.margin_low, found.margin_high, found.margin) == (0.5, 0.2, 0.5, 0.5)
    assert (FROZEN_ENCODER in caplog.text) == (not trained)
    figures = json.loads((folder / "history.json").read_text())["history"][-1]
    assert {"validation_wer", "validation_wer_short"} < figures.keys()


def test_without_short_windows_nothing_is_recorded(write_config, tmp_path):
    assert Capabilities.load(finetune(load_config(write_config(tmp_path / "pair.yaml")))).short_windows is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.short_windows={share: 1}", "short_windows.share: expected a share above 0, below 1, found 1"),
        ("train.short_windows={margin: [2, 1]}", r"short_windows.margin: expected the least and the most seconds"),
        ("train.short_windows={margin: [1]}", r"short_windows.margin: expected the least and the most seconds"),
        ("train={short_windows: {}, cache_encoder: true}", "without spec_augment or short_windows"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change, message, write_config, tmp_path):
    with pytest.raises(InputError, match=message):
        load_config(write_config(tmp_path / "pair.yaml"), [change])


# Windows of a length each


@given(st.lists(st.sampled_from([100, 200, 700, 1500]), min_size=1, max_size=60), st.integers(1, 5), st.integers(0, 3))
def test_steps_of_equal_windows_show_each_once_an_epoch_and_cost_alike(frames, windows, seed):
    steps = EqualSteps(tuple(frames), windows, FULL, seed)
    for epoch in range(2):
        epoch_of = [steps.draws(epoch * steps.count + i) for i in range(steps.count)]
        assert {draw.sample for draws in epoch_of for draw in draws} == set(range(len(frames)))
        for draws in epoch_of:
            assert {frames[draw.sample] for draw in draws} == {draws[0].frames} == {draw.frames for draw in draws}
            assert len(draws) * draws[0].frames <= windows * FULL
        for number, draws in enumerate(epoch_of, start=epoch * steps.count):
            room = windows * FULL // draws[0].frames
            assert steps.weight(number) == len(draws) / room  # so that each window counts by what it costs
    assert epoch_of[0] == EqualSteps(tuple(frames), windows, FULL, seed).draws(steps.count)  # after a restart
