"""The student's training data: the main's filtered labels, and the caches of encoder states and teacher targets."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whisper_pair.checkpoints import DraftVocabulary
from whisper_pair.data import Window, repeated_by_weight, write_data_report
from whisper_pair.decoding import Engine
from whisper_pair.runs import Stage, cache_bytes, require_disk
from whisper_pair.training import WRITES, Batches, EncoderCache, Example, FrozenEncoder

from .cache_policy import CachePolicy
from .inputs import DistillationInputs
from .label_filter import FilteredLabels, LabelFilter, trusted_labels
from .labelling import Labeller, label_windows
from .labels import LabelRow, read_labels
from .teacher import DTYPES, Teacher, digest_of, teacher_cache

logger = logging.getLogger("whisper_pair.distill")


@dataclass(frozen=True)
class DistillationData:
    """What the student is trained on."""

    batches: Batches
    encoding: FrozenEncoder  # of the main's frozen encoder
    teacher: Teacher
    vocabulary: DraftVocabulary | None  # None: the draft may propose all tokens
    policy: CachePolicy
    cache_bytes: int  # of disk
    labelling_seconds: float  # for all windows; 0 where the labels were there

    @property
    def count(self) -> int:
        """Examples in an epoch."""
        return len(self.batches.examples)


def prepare_distillation_data(
    given: DistillationInputs, labels: Stage, stage: Stage, accelerator: Any, rehearsed: bool
) -> DistillationData:
    """Labels what is not labelled yet. `rehearsed`: a few windows only, to estimate what all of them would take."""
    settings, main, windows = given.config.distill, given.main, given.windows
    if rehearsed and not labels.finished():
        windows = windows[: 2 * settings.label_batch_size * accelerator.num_processes]
    frames = sum(given.frames(window) for window in given.windows)
    with accelerator.main_process_first():
        policy = CachePolicy.chosen(settings, main, given.log_mel, windows, frames / len(given.windows), stage.work)
    logger.info(policy)
    each = np.dtype(DTYPES[settings.cache_dtype]).itemsize
    disk = cache_bytes(frames * policy.states, main.config, each)
    disk += cache_bytes(sum(given.frames(clip) for clip in given.held_out), main.config)
    if not rehearsed:
        require_disk(stage.work, disk, "distill.cache: none", labels.folder, labels.work)

    def about(windows: Sequence[Window]) -> dict[str, Any]:
        made_by = {name: labels.inputs[name] for name in ("main", "precision")}
        made_by |= {} if given.margin is None else {"margin": given.margin}
        return made_by | {"windows": digest_of([window.key for window in windows])}

    def states(folder: Path, windows: Sequence[Window]) -> EncoderCache:
        with accelerator.main_process_first():
            dtype = DTYPES[settings.cache_dtype]
            frames = [given.frames(window) for window in windows]
            return EncoderCache(folder / "states", len(windows), frames, main.config.d_model, about(windows), dtype)

    cache = states(labels.folder if labels.finished() else labels.work, windows) if policy.states else None
    engine = Engine(main)
    rounding = getattr(torch, DTYPES[settings.cache_dtype])
    encoding = FrozenEncoder(engine.encoders.main, given.log_mel, None, cache, rounding)
    labeller = Labeller(engine, encoding, given.targets, given.config, given.normalizer, given.options, given.frames)
    seconds = 0.0
    if not labels.finished():
        begun = time.perf_counter()
        label_windows(labeller, windows, labels.work, accelerator)
        seconds = (time.perf_counter() - begun) * len(given.windows) / len(windows)
        WRITES.flush()  # before the folder moves
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            labels.finish()
        accelerator.wait_for_everyone()
        cache = cache and states(labels.folder, windows)  # the files have moved with their folder

    encoding.cache = None  # it knows windows by number, and those that are labelled again have none
    rows = read_labels(labels.folder)
    if rehearsed:  # whose main may be untrained
        labelled = FilteredLabels([(windows[row.window], row) for row in rows])
    else:
        label_filter = LabelFilter(settings, given.config.text_language, given.normalizer)
        labelled = trusted_labels(label_filter, labeller, windows, rows, labels.folder, accelerator)
    _report(labelled, given, accelerator)
    numbers = {window.key: number for number, window in enumerate(windows)}
    fresh = [window for window, _ in labelled.kept if window.key not in numbers]  # those that were labelled again
    numbers |= {window.key: len(windows) + number for number, window in enumerate(fresh)}
    if fresh and cache is not None:
        cache = cache.followed_by(states(stage.work, fresh))
    shown = repeated_by_weight([window for window, _ in labelled.kept], given.config.seed)
    examples = [labelled_example(*labelled.kept[number]) for number in shown]
    encoding.cache = cache and cache.of([numbers[example.window.key] for example in examples])
    teacher = Teacher(main, settings)
    if policy.teacher:
        with accelerator.main_process_first():
            where, width = labels.folder / "teacher", main.config.d_model
            teacher.cache = teacher_cache(where, examples, settings, width, about(windows))
        disk += teacher.cache.row_bytes * sum(teacher.cache.lengths)
    return DistillationData(
        batches=Batches(examples, given.log_mel, encoding.cache),
        encoding=encoding,
        teacher=teacher,
        vocabulary=_vocabulary(labelled, settings.draft_vocabulary, accelerator),
        policy=policy,
        cache_bytes=disk,
        labelling_seconds=seconds,
    )


def labelled_example(window: Window, row: LabelRow) -> Example:
    """A window with its label, after the prefix that the main was given."""
    return Example(window, (*row.prefix, *row.tokens), len(row.prefix))


def _report(labelled: FilteredLabels, given: DistillationInputs, accelerator: Any) -> None:
    logger.info(labelled.report())
    if accelerator.is_main_process:
        kept = [window for window, _ in labelled.kept]
        tokens = [len(row.tokens) for _, row in labelled.kept]
        output, seconds = Path(given.config.output), given.log_mel.seconds
        write_data_report(output, "assistant", given.corpus, kept, tokens, seconds, labelled.section())


def _vocabulary(labelled: FilteredLabels, share: float | None, accelerator: Any) -> DraftVocabulary | None:
    if share is None:
        return None
    found = DraftVocabulary.covering((row.tokens for _, row in labelled.kept), share)
    logger.info("draft vocabulary: %d tokens, %.2f %% of the labels", len(found.tokens), 100 * found.covered)
    return found
