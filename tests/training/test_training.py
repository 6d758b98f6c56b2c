"""The loop: the same step however its samples are spread, and the same weights after a stop."""

import json
import os
import signal
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from whisper_pair import errors
from whisper_pair.config.schema import Optimization
from whisper_pair.errors import TrainingError
from whisper_pair.training import loop as training
from whisper_pair.training.instability import InstabilityGuard
from whisper_pair.training.loop import Trainable, ValidationScore, fit
from whisper_pair.training.losses import SummedLoss
from whisper_pair.training.plan import Plan, learning_rate_at
from whisper_pair.training.short_steps import Draw
from whisper_pair.training.step import take_step


def plan(**changes) -> Plan:
    return Plan(**{"samples": 10, "batch_size": 2, "accumulation": 2, "processes": 1, "epochs": 2, "seed": 3} | changes)


@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 3), st.integers(0, 5))
def test_a_step_takes_the_same_samples_however_they_are_spread(samples, batch, spread, seed):
    together = plan(samples=samples, batch_size=batch * spread, accumulation=1, seed=seed)
    others = [
        plan(samples=samples, batch_size=batch, accumulation=spread, seed=seed),
        plan(samples=samples, batch_size=batch, accumulation=1, processes=spread, seed=seed),
    ]

    def steps(some: Plan) -> list[list[Draw]]:
        shares = [list(some.micro_batches(0, process)) for process in range(some.processes)]
        each = some.accumulation
        return [
            [i for share in shares for part in share[step * each : (step + 1) * each] for i in part]
            for step in range(some.steps)
        ]

    assert steps(others[0]) == steps(others[1]) == steps(together)


def test_an_epoch_holds_every_sample_once_in_an_order_of_its_own():
    some = plan()
    epochs = [[some.sample(i) for i in range(start, start + 10)] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_learning_rate_rises_then_falls():
    settings = Optimization(warmup=0.2)
    factors = [learning_rate_at(settings, step, 10) for step in range(10)]
    assert factors[:2] == [0.5, 1.0]
    assert factors[2:] == sorted(factors[2:], reverse=True)
    assert 0 < factors[-1] < 0.2
    assert learning_rate_at(Optimization(schedule="constant", warmup=0.0), 7, 10) == 1.0
    assert learning_rate_at(Optimization(schedule="cosine", warmup=0.0), 5, 10) == pytest.approx(0.5)


class Summed(nn.Module):
    """Squared error of a line, summed over unequal numbers of values: "tokens" of a sample."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x, y, mask):
        return SummedLoss((((x @ self.weight - y) ** 2) * mask).sum())


class NumberBatch(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor
    mask: torch.Tensor
    tokens: int
    names: tuple[str, ...]


def inputs_of(batch: NumberBatch) -> dict[str, torch.Tensor]:
    return {"x": batch.x, "y": batch.y, "mask": batch.mask}


class Numbers:
    """Batches of 20 samples with 1 to 5 values each."""

    def __init__(self, spoil: int | None = None):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(20, 5, 3, generator=generator)
        self.y = torch.randn(20, 5, generator=generator)
        if spoil is not None:
            self.y[spoil] = float("nan")

    def load(self, draw):
        return draw.sample

    def collate(self, samples):
        mask = torch.stack([torch.arange(5) <= sample % 5 for sample in samples]).float()
        names = tuple(f"sample {sample}" for sample in samples)
        return NumberBatch(self.x[samples], self.y[samples], mask, int(mask.sum()), names)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_step_of_half_the_weight_has_half_the_gradient_and_the_same_loss(accumulation):
    found = []
    for weight in (1.0, 0.5):
        accelerator, module = Accelerator(cpu=True, gradient_accumulation_steps=accumulation), Summed()
        optimizer, guard = accelerator.prepare(torch.optim.SGD(module.parameters(), lr=1.0)), InstabilityGuard()
        micro = [Numbers().collate([2 * place, 2 * place + 1]) for place in range(accumulation)]
        settings = Optimization(accumulation=accumulation, max_grad_norm=1e9)
        tokens = float(sum(batch.tokens for batch in micro))
        step = take_step(accelerator, module, optimizer, settings, micro, tokens, inputs_of, guard, 1, weight=weight)
        found.append((step.loss, step.gradient_norm, module.weight.detach() - 1))
    (loss, norm, moved), (other_loss, other_norm, other_moved) = found
    assert other_loss == loss
    assert other_norm == pytest.approx(norm / 2)
    assert torch.allclose(other_moved, moved / 2)


class StoppedError(Exception):
    pass


def train(folder, batch_size=4, accumulation=1, stop_at=None, spoil=None, short=None, **settings):
    """-> final weights; raises StoppedError in the middle of the run where asked."""
    folder.mkdir(exist_ok=True)
    chosen = Optimization(
        **{"epochs": 3, "learning_rate": 0.05, "evaluations": 3, "checkpoints": 5}
        | {"batch_size": batch_size, "accumulation": accumulation}
        | settings
    )
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
    module, seen = Summed(), []
    steps = 0

    def prepare(batch):
        nonlocal steps
        steps += 1
        if stop_at is not None and steps > stop_at:
            raise StoppedError
        return inputs_of(batch)

    def validate(trained) -> ValidationScore:
        seen.append(trained.weight.detach().clone())
        return ValidationScore({"value": len(seen)}, -abs(len(seen) - 2))  # the second is best

    def save(trained, target):
        torch.save(trained.weight.detach(), target / "weight.pt")

    made = replace(Plan.of(chosen, 20, accelerator.num_processes, 0), short=short)
    trained = Trainable(module, prepare, lambda: module, validate, save)
    best = fit(accelerator, trained, chosen, made, Numbers(spoil), folder)
    return module.weight.detach(), best, seen


def test_accumulation_changes_nothing(tmp_path):
    whole, *_ = train(tmp_path / "whole", batch_size=8)
    parts, *_ = train(tmp_path / "parts", batch_size=2, accumulation=4)
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(whole, torch.ones(3), atol=1e-2)


def test_the_loss_is_the_mean_over_all_tokens_of_the_step(tmp_path):
    _, best, _ = train(tmp_path / "run", batch_size=20, learning_rate=1e-12, evaluations=1, epochs=1)
    numbers = Numbers().collate(list(range(20)))
    module = Summed()
    mean = module(numbers.x, numbers.y, numbers.mask).total / numbers.tokens
    history = json.loads((best / "history.json").read_text())
    assert history["history"][0]["loss"] == pytest.approx(mean.item())


@pytest.mark.parametrize("stop_at", [4, 8, 13])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, stop_at):
    whole, *_ = train(tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(tmp_path / "stopped", stop_at=stop_at)
    (tmp_path / "stopped" / "state-9999999.partial").mkdir()  # a save that was cut off
    resumed, *_ = train(tmp_path / "stopped")
    assert torch.equal(whole, resumed)


def test_the_best_checkpoint_is_kept_not_the_last(tmp_path):
    last, best, seen = train(tmp_path / "run")
    kept = torch.load(best / "weight.pt")
    assert torch.equal(kept, seen[1])
    assert not torch.equal(kept, last)


def test_a_loss_that_is_no_number_stops_and_names_the_batch(tmp_path):
    with pytest.raises(TrainingError, match=r"nan at step \d+, on .*sample 7"):
        train(tmp_path / "run", spoil=7)


def test_a_signal_that_ends_the_readers_in_the_middle_of_a_step_is_a_stop(tmp_path, monkeypatch):
    """torch reports the end of a reader wherever the process happens to be."""

    def ended(*_, **more):
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated. ")

    monkeypatch.setattr(training, "take_step", ended)
    with pytest.raises(errors.StoppedError, match="SIGTERM; in the middle of a step; the same command goes on"):
        train(tmp_path / "run")
