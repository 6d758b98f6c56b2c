"""The one training loop, for both stages.

A stage gives a module whose forward returns the *sum* of a loss over tokens, and batches that say how many tokens they
hold. The loop divides by the count over all micro-batches and all processes, so the gradient of a step is the same
however its samples are spread. (transformers' Trainer gets this wrong for Whisper: its loss grows with accumulation.)
plan.py decides which samples a step takes.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..config import Optimization
from ..errors import TrainingError
from ..precision import first_not_finite, in_dtype, name_of
from ..runs import AudioExample, StopRequest, Throughput, log_audio, stopped_error, write_json
from .batches import Batch, Batches
from .instability import InstabilityGuard, largest_that_fits, out_of_memory
from .losses import SummedLoss
from .plan import Plan, Stream, learning_rate_at
from .progress import Progress
from .sharding import norm_of, prepared
from .write_behind import WRITES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ValidationScore:
    """The result of a validation."""

    figures: dict[str, float]  # name -> figure, for the tracker
    value: float  # decides which checkpoint is best; higher is better
    examples: Sequence[AudioExample] = ()  # clips with their texts, for the tracker too


Prepare = Callable[[Batch], Mapping[str, Any]]  # a batch -> the arguments of the module, on the device


def fit(
    accelerator,
    module: nn.Module,
    settings: Optimization,
    plan: Plan,
    batches: Batches,
    prepare: Prepare,
    whole: Callable[[], Any],
    validate: Callable[[Any], ValidationScore],
    save_best: Callable[[Any, Path], None],
    folder: Path,
    workers: int = 0,
    saved_as: torch.dtype = torch.float32,
) -> Path:
    """Trains `module` and returns the folder of the best checkpoint, inside `folder`.

    `prepare` runs whatever is frozen over a batch and returns the module's arguments; `module(**arguments)` returns a
    SummedLoss over the batch's `tokens`. `whole` returns the trained model, its weights gathered where they are
    sharded. `validate` scores that model, on every process, and must return the same score on each. `save_best` writes
    it into a folder, in the type `saved_as`, on the main process. `workers`: processes that load batches; 0: none.
    A run that was stopped goes on from its last sound state.

    Raises StoppedError, with everything saved, after a signal to stop, and TrainingError for a training gone wrong.
    """
    trainable = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, settings.learning_rate, weight_decay=settings.weight_decay)
    module, optimizer = prepared(accelerator, module, optimizer)
    progress = Progress(folder, plan.per_step, settings.keep)
    progress.resume(accelerator)

    stream = Stream(plan, batches.load)
    loader = DataLoader(
        stream,
        batch_sampler=list(plan.micro_batches(progress.step, accelerator.process_index)),
        collate_fn=batches.collate,
        num_workers=workers,
        persistent_workers=False,
        generator=torch.Generator(),  # an iterator draws a seed: from the model's own, a resumed run would be one off
    )
    bar = _progress_bar(accelerator, plan.steps, progress.step)
    evaluate_at = _milestones(plan.steps, settings.evaluations)
    save_at = _milestones(plan.steps, settings.checkpoints)
    guard, work = InstabilityGuard(), Throughput()
    module.train()

    def evaluate(loss: float) -> None:
        """Validates, and keeps the checkpoint where it is the best so far."""
        module.eval()
        model = whole()
        score = validate(model)
        module.train()
        accelerator.log(score.figures, step=progress.step)
        for tracker in accelerator.trackers:
            log_audio(tracker, score.examples, progress.step)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in score.figures.items())
        logger.info("step %d of %d: loss %.4f, %s", progress.step, plan.steps, loss, figures)
        best = progress.best is None or score.value > progress.best
        if best:
            _require_storable(accelerator, model, saved_as, progress, loss)
        progress.history.append({"step": progress.step, "loss": loss, **score.figures})
        if best:
            progress.save_best(accelerator, score.value, lambda aside: save_best(in_dtype(model, saved_as), aside))

    with StopRequest() as stop_request:  # before the loader's workers start, which then leave a Ctrl-C to this process
        if progress.owes_validation:
            evaluate(progress.history.pop()["loss"])
        micro_batches = iter(loader)
        while progress.step < plan.steps and not _given_up(progress, settings):
            begun = time.perf_counter()
            step_batches = _read(micro_batches, settings.accumulation, stop_request)
            tokens, save, stop = _agreed(accelerator, step_batches, progress, settings, stop_request)
            if save or stop:
                WRITES.flush()
                saved = progress.save(accelerator)
            if stop:
                raise stopped_error(stop_request.signal, f"saved {saved}; the same command goes on from there.")
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * learning_rate_at(settings, progress.step, plan.steps)
            number, heaviest = progress.step + 1, None
            try:
                step = take_step(accelerator, module, optimizer, settings, step_batches, tokens, prepare, guard, number)
            except (RuntimeError, torch.OutOfMemoryError) as error:
                if not _lacks_memory(error):
                    if "DataLoader worker" in str(error) and stop_request.soon():  # the signal ended the readers too
                        left = "in the middle of a step; the same command goes on from the last saved state."
                        raise stopped_error(stop_request.signal, left) from error
                    raise
                heaviest = max(range(settings.accumulation), key=lambda i: step_batches[i].tokens)
            if heaviest is not None:  # outside of the except, which holds on to the tensors
                positions = list(plan.micro_batches(progress.step, accelerator.process_index))[heaviest]
                fits = _fits(accelerator, module, optimizer, prepare, stream, batches, positions)
                raise _reported(accelerator, out_of_memory(number, settings.batch_size, settings.accumulation, fits))
            progress.step += 1
            windows, counted = sum(len(b.names) for b in step_batches), sum(b.tokens for b in step_batches)
            seconds = time.perf_counter() - begun
            work.add(windows, counted, seconds)
            rates = {"windows_per_second": windows / seconds, "tokens_per_second": counted / seconds}
            figures = step.figures | rates | {"learning_rate": group["lr"], "epoch": plan.epochs_at(progress.step)}
            accelerator.log(figures, step=progress.step)
            bar.set_postfix(loss=f"{step.loss:.3f}", refresh=False)
            bar.update()
            if progress.step in evaluate_at:
                evaluate(step.loss)
            if progress.step in save_at and progress.step < plan.steps:
                WRITES.flush()
                progress.save(accelerator)
    bar.close()
    WRITES.flush()  # before the folder moves
    if progress.step < plan.steps:
        logger.info(
            "stopped early: %d validations in a row were no better than that of step %d, whose checkpoint is kept",
            settings.patience,
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


class Step(NamedTuple):
    """One optimizer step, over all processes."""

    loss: float  # the mean per token
    gradient_norm: float  # before clipping
    parts: Mapping[str, float]  # what the loss is the sum of, each the mean per token

    @property
    def figures(self) -> dict[str, float]:
        """For the tracker."""
        parts = {f"loss_{name}": value for name, value in self.parts.items()}
        return {"loss": self.loss, "gradient_norm": self.gradient_norm, **parts}


def take_step(
    accelerator, module, optimizer, settings: Optimization, batches: Sequence[Batch], tokens: float,
    prepare: Prepare, guard: InstabilityGuard, number: int,
) -> Step:  # fmt: skip
    """Takes one optimizer step, the step `number`, over micro-batches that hold `tokens` on all processes."""
    losses: list[SummedLoss] = []
    norm = mean = 0.0
    for batch in batches:
        with accelerator.accumulate(module):
            inputs = prepare(batch)  # outside of autocast: what is frozen runs in a precision of its own
            with accelerator.autocast():
                loss: SummedLoss = module(**inputs)
            losses.append(SummedLoss(loss.total.detach(), loss.parts))
            # processes are averaged and accelerate divides by the accumulation: undo both, then divide by the tokens
            accelerator.backward(loss.total * (accelerator.num_processes * settings.accumulation / tokens))
            if accelerator.sync_gradients:
                norm = norm_of(accelerator.clip_grad_norm_(module.parameters(), settings.max_grad_norm))
                mean, *parts = _means(accelerator, losses, tokens)
                names = [name for batch in batches for name in batch.names]
                guard.check(number, mean, norm, names, accelerator.scaler is not None)
            optimizer.step()
            optimizer.zero_grad()
    return Step(mean, norm, dict(zip(losses[0].parts, parts, strict=True)))


def _means(accelerator, losses: Sequence[SummedLoss], tokens: float) -> list[float]:
    """The total and each part, over all micro-batches and processes, per token."""
    sums = torch.stack([torch.stack([loss.total, *loss.parts.values()]).float() for loss in losses]).sum(0)
    return (accelerator.reduce(sums, reduction="sum") / tokens).tolist()


def _reported(accelerator, error: TrainingError) -> TrainingError:
    """Logs an error of this process alone: the main process, which reports errors, may not have met it."""
    if not accelerator.is_main_process:
        logger.error("process %d: %s", accelerator.process_index, error)
    return error


def _lacks_memory(error: Exception) -> bool:
    from accelerate.utils.memory import should_reduce_batch_size

    return should_reduce_batch_size(error)


def _fits(
    accelerator, module, optimizer, prepare, stream: Stream, batches: Batches, positions: list[int]
) -> int | None:
    """The largest part of a micro-batch for which there is memory. Runs without the other processes, which go on."""
    from accelerate.utils import DistributedType

    if accelerator.distributed_type == DistributedType.FSDP:
        return None
    alone = accelerator.unwrap_model(module)

    def run(size: int) -> None:
        optimizer.zero_grad()
        inputs = prepare(batches.collate([stream[position] for position in positions[:size]]))
        with accelerator.autocast():
            alone(**inputs).total.backward()

    return largest_that_fits(run, len(positions))


def _milestones(steps: int, times: int) -> set[int]:
    """Evenly spaced steps, the last one at the end."""
    return {math.ceil(steps * (i + 1) / times) for i in range(times)}


def _progress_bar(accelerator, steps: int, done: int):
    from tqdm import tqdm

    return tqdm(total=steps, initial=done, desc="training", unit="step", disable=not accelerator.is_main_process)
