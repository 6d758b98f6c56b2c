"""The one training loop, for both stages.

A stage gives a module whose forward returns the *sum* of a loss over tokens, and batches that say how many tokens they
hold. The loop divides by the count over all micro-batches and all processes, so the gradient of a step is the same
however its samples are spread. (transformers' Trainer gets this wrong for Whisper: its loss grows with accumulation.)
plan.py decides which samples a step takes, and how much it counts.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..config import Optimization
from ..errors import TrainingError
from ..precision import first_not_finite, in_dtype, name_of
from ..runs import AudioExample, StopRequest, Throughput, log_audio, stopped_error, write_json
from .batches import Batch, Batches
from .instability import InstabilityGuard, largest_that_fits, out_of_memory
from .plan import Plan, Stream, learning_rate_at
from .progress import Progress
from .sharding import prepared
from .short_steps import Draw
from .step import Prepare, Step, take_step
from .write_behind import WRITES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ValidationScore:
    """The result of a validation."""

    figures: dict[str, float]  # name -> figure, for the tracker
    value: float  # decides which checkpoint is best; higher is better
    examples: Sequence[AudioExample] = ()  # clips with their texts, for the tracker too


@dataclass(frozen=True)
class Trainable:
    """What a stage gives the loop: a module to train, and how its batches are prepared and its models judged and saved.

    `module(**prepare(batch))` returns a SummedLoss over the batch's `tokens`.
    """

    module: nn.Module
    prepare: Prepare  # runs what is frozen over a batch
    model: Callable[[], Any]  # the trained model, its weights gathered where they are sharded
    validate: Callable[[Any], ValidationScore]  # scores that model on every process; the same score on each
    save: Callable[[Any, Path], None]  # writes that model into a folder, on the main process
    saved_as: torch.dtype = torch.float32  # the type that it is saved in


def fit(
    accelerator, trainable: Trainable, settings: Optimization, plan: Plan, batches: Batches, folder: Path,
    workers: int = 0,
) -> Path:  # fmt: skip
    """Trains, and returns the folder of the best checkpoint, inside `folder`.

    `workers`: processes that load batches; 0: none. A run that was stopped continues from its last sound state.

    Raises StoppedError, with everything saved, after a signal to stop, and TrainingError for a training gone wrong.
    """
    loop = _Loop(accelerator, trainable, settings, plan, batches, folder, workers)
    with StopRequest() as stop_request:  # before the loader's workers start, which then leave a Ctrl-C to this process
        loop.run(stop_request)
    return loop.finish()


class _Loop:
    """The state of one training: the module and optimizer as prepared for the launch, and how far they have come."""

    def __init__(
        self, accelerator, trainable: Trainable, settings: Optimization, plan: Plan, batches: Batches, folder: Path,
        workers: int,
    ) -> None:  # fmt: skip
        weights = [p for p in trainable.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, settings.learning_rate, weight_decay=settings.weight_decay)
        self.module, self.optimizer = prepared(accelerator, trainable.module, optimizer)
        self.progress = Progress(folder, plan.per_step, settings.keep)
        self.progress.resume(accelerator)
        self.accelerator, self.trainable, self.settings, self.plan = accelerator, trainable, settings, plan
        self.batches = batches
        self.loader = DataLoader(
            Stream(batches.load),
            batch_sampler=self._draws(),
            collate_fn=batches.collate,
            num_workers=workers,
            persistent_workers=False,
            generator=torch.Generator(),  # an iterator draws a seed: the model's generator would differ after a restart
        )
        self.bar = _progress_bar(accelerator, plan.steps, self.progress.step)
        self.evaluate_at = _milestones(plan.steps, settings.evaluations)
        self.save_at = _milestones(plan.steps, settings.checkpoints)
        self.guard, self.work = InstabilityGuard(), Throughput()
        self.module.train()

    def run(self, stop_request: StopRequest) -> None:
        """Takes the steps that are left, with their validations and saved states."""
        progress = self.progress
        if progress.owes_validation:
            self.evaluate(progress.history.pop()["loss"])
        micro_batches = iter(self.loader)
        while progress.step < self.plan.steps and not _given_up(progress, self.settings):
            begun = time.perf_counter()
            batches = _read(micro_batches, self.settings.accumulation, stop_request)
            tokens, save, stop = _agreed(self.accelerator, batches, progress, self.settings, stop_request)
            if save or stop:
                saved = self._save()
            if stop:
                raise stopped_error(stop_request.signal, f"saved {saved}; the same command goes on from there.")
            step = self._step(batches, tokens, stop_request)
            progress.step += 1
            self._log(step, batches, time.perf_counter() - begun)
            if progress.step in self.evaluate_at:
                self.evaluate(step.loss)
            if progress.step in self.save_at and progress.step < self.plan.steps:
                self._save()

    def evaluate(self, loss: float) -> None:
        """Validates, and keeps the checkpoint where it is the best so far."""
        accelerator, progress, trainable = self.accelerator, self.progress, self.trainable
        self.module.eval()
        model = trainable.model()
        score = trainable.validate(model)
        self.module.train()
        accelerator.log(score.figures, step=progress.step)
        for tracker in accelerator.trackers:
            log_audio(tracker, score.examples, progress.step)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in score.figures.items())
        logger.info("step %d of %d: loss %.4f, %s", progress.step, self.plan.steps, loss, figures)
        best = progress.best is None or score.value > progress.best
        if best:
            _require_storable(accelerator, model, trainable.saved_as, progress, loss)
        progress.history.append({"step": progress.step, "loss": loss, **score.figures})
        if best:
            stored = in_dtype(model, trainable.saved_as)
            progress.save_best(accelerator, score.value, lambda aside: trainable.save(stored, aside))

    def finish(self) -> Path:
        """Writes the history beside the best checkpoint, and returns its folder."""
        accelerator, progress, work = self.accelerator, self.progress, self.work
        self.bar.close()
        WRITES.flush()  # before the folder moves
        if progress.step < self.plan.steps:
            logger.info(
                "stopped early: %d validations in a row were no better than that of step %d, whose checkpoint is kept",
                self.settings.patience,
                progress.best_step,
            )
        if work.batches:  # none where a stopped run had only its end to write
            logger.info("training: %s", work)
        if accelerator.is_main_process:
            write_json(progress.best_folder / "history.json", progress.record)
            if work.batches:
                work.save(progress.best_folder, accelerator.num_processes)
        accelerator.wait_for_everyone()
        return progress.best_folder

    def _draws(self) -> Iterator[list[Draw]]:
        """The samples of each micro-batch that this process has yet to take."""
        return self.plan.micro_batches(self.progress.step, self.accelerator.process_index)

    def _save(self) -> Path:
        WRITES.flush()
        return self.progress.save(self.accelerator)

    def _step(self, batches: list[Batch], tokens: float, stop_request: StopRequest) -> Step:
        number = self.progress.step + 1
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(number)
        try:
            return take_step(
                self.accelerator, self.module, self.optimizer, self.settings, batches, tokens, self.trainable.prepare,
                self.guard, number, weight=self.plan.weight(number - 1),
            )  # fmt: skip
        except (RuntimeError, torch.OutOfMemoryError) as error:
            if not _lacks_memory(error):
                if "DataLoader worker" in str(error) and stop_request.soon():  # the signal ended the readers too
                    left = "in the middle of a step; the same command goes on from the last saved state."
                    raise stopped_error(stop_request.signal, left) from error
                raise
        # outside of the except, which holds on to the tensors
        heaviest = max(range(self.settings.accumulation), key=lambda i: batches[i].tokens)
        fits = self._fits(next(islice(self._draws(), heaviest, None)))
        found = out_of_memory(number, self.settings.batch_size, self.settings.accumulation, fits)
        raise _reported(self.accelerator, found)

    def _learning_rate(self, step: int) -> float:
        """Of the step with that number, counted from 1."""
        return self.settings.learning_rate * learning_rate_at(self.settings, step - 1, self.plan.steps)

    def _log(self, step: Step, batches: Sequence[Batch], seconds: float) -> None:
        number = self.progress.step
        windows, tokens = sum(len(batch.names) for batch in batches), sum(batch.tokens for batch in batches)
        self.work.add(windows, tokens, seconds)
        rates = {"windows_per_second": windows / seconds, "tokens_per_second": tokens / seconds}
        schedule = {"learning_rate": self._learning_rate(number), "epoch": self.plan.epochs_at(number)}
        self.accelerator.log(step.figures | rates | schedule, step=number)
        self.bar.set_postfix(loss=f"{step.loss:.3f}", refresh=False)
        self.bar.update()

    def _fits(self, draws: list[Draw]) -> int | None:
        """The largest batch_size for which there is memory, tried on a part of a micro-batch as large: one of short
        windows has more rows than batch_size. Runs without the other processes, which go on."""
        from accelerate.utils import DistributedType

        if self.accelerator.distributed_type == DistributedType.FSDP:
            return None
        alone = self.accelerator.unwrap_model(self.module)

        def run(size: int) -> None:
            self.optimizer.zero_grad()
            some = self.batches.collate([self.batches.load(draw) for draw in draws[:size]])
            inputs = self.trainable.prepare(some)
            with self.accelerator.autocast():
                alone(**inputs).total.backward()

        return largest_that_fits(run, len(draws)) * self.settings.batch_size // len(draws)


def _require_storable(accelerator, model, dtype: torch.dtype, progress: Progress, loss: float) -> None:
    """Raises TrainingError, before anything is written over, where a weight does not fit the type that it is saved in.

    A state is saved first, from which the same run goes on in another type: with this step's validation, which it owes.
    """
    if (weight := first_not_finite(model, torch.float32)) is not None:
        raise TrainingError(f"{weight} holds NaN or infinity at step {progress.step}; lower the learning rate.")
    if (weight := first_not_finite(model, dtype)) is not None:
        progress.history.append({"step": progress.step, "loss": loss})
        state = progress.save(accelerator)
        raise TrainingError(
            f"{weight} has outgrown {name_of(dtype)}, the type that the checkpoint is saved in, at step "
            f"{progress.step}; save_dtype=fp32 goes on from {state}, and nothing is lost."
        )


def _given_up(progress: Progress, settings: Optimization) -> bool:
    return settings.patience is not None and progress.validations_since_best >= settings.patience


def _read(micro_batches: Iterator[Batch], count: int, stop_request: StopRequest) -> list[Batch]:
    """The micro-batches of a step; none where the signal that stops this process has ended the loader's workers."""
    try:
        return [next(micro_batches) for _ in range(count)]
    except RuntimeError:
        if not stop_request.soon():
            raise
        return []


def _agreed(
    accelerator, batches: Sequence[Batch], progress: Progress, settings: Optimization, stop_request: StopRequest
) -> tuple[float, bool, bool]:
    """(the step's tokens over all processes, whether to save now, whether to stop): the same on every process."""
    due = settings.save_minutes and time.monotonic() - progress.saved_at > 60 * settings.save_minutes
    stops = not batches or stop_request.signal is not None
    mine = [sum(batch.tokens for batch in batches), due and accelerator.is_main_process, stops]
    counts = torch.tensor([float(part) for part in mine], device=accelerator.device)
    tokens, save, stop = accelerator.reduce(counts, reduction="sum").tolist()
    return max(tokens, 1.0), save > 0, stop > 0


def _reported(accelerator, error: TrainingError) -> TrainingError:
    """Logs an error of this process alone: the main process, which reports errors, may not have met it."""
    if not accelerator.is_main_process:
        logger.error("process %d: %s", accelerator.process_index, error)
    return error


def _lacks_memory(error: Exception) -> bool:
    from accelerate.utils.memory import should_reduce_batch_size

    return should_reduce_batch_size(error)


def _milestones(steps: int, times: int) -> set[int]:
    """Evenly spaced steps, the last one at the end."""
    return {math.ceil(steps * (i + 1) / times) for i in range(times)}


def _progress_bar(accelerator, steps: int, done: int):
    from tqdm import tqdm

    return tqdm(total=steps, initial=done, desc="training", unit="step", disable=not accelerator.is_main_process)
