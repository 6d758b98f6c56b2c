"""Labelling: the finished main transcribes the training windows.

For greedy decoding its own transcripts are the on-policy data: an assistant only ever sees the main's prefixes. A batch
holds the same windows whatever the number of processes and restarts, and its rows are written together into a shard,
which is complete or absent. So a run that is killed loses at most one batch, and ends with the same rows as an
undisturbed one. At the end the shards become one file, in the windows' order.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from whisper_pair.config import Config
from whisper_pair.data import Window
from whisper_pair.decoding import Decoded, Engine, Options
from whisper_pair.errors import InputError
from whisper_pair.runs import Throughput, stop_on_signals
from whisper_pair.text import Normalizer, compression_ratio, error_rates, text_of
from whisper_pair.training import AudioBatch, FrozenEncoder, TargetTokens

from .labels import LABELS_FILE, LabelRow, is_whole, read_labels, write_labels

logger = logging.getLogger("whisper_pair.distill")


@dataclass(frozen=True)
class Labeller:
    """Turns windows into rows: the main transcribes them."""

    engine: Engine
    encoding: FrozenEncoder
    targets: TargetTokens
    config: Config
    normalizer: Normalizer
    options: Options
    frames: Callable[[Window], int] | None = None  # encoder frames of a window; None: all are full

    def rows(self, windows: Sequence[Window], numbers: Sequence[int], device: torch.device) -> list[LabelRow]:
        """Labels of some windows; a window whose audio cannot be read gives no row."""
        kept, pcm = [], []
        for window, number in zip(windows, numbers, strict=True):
            try:
                pcm.append(window.pcm()[: self.encoding.log_mel.samples])
                kept.append((window, number))
            except InputError as error:
                logger.warning("skipped: %s", error)
        if not kept:
            return []
        states = self._states([window for window, _ in kept], pcm, [number for _, number in kept], device)
        rows = []
        for timestamps in (False, True):  # one call of the engine decodes with timestamps or without
            some = [i for i, (window, _) in enumerate(kept) if window.timestamps == timestamps]
            if some:
                prompts = [self.targets.prompt(kept[i][0]) or None for i in some]
                options = replace(self.options, timestamps=timestamps)
                decoded = self.engine.decode(encoder_states=[states[i] for i in some], options=options, prompts=prompts)
                rows += [self._row(*kept[i], d) for i, d in zip(some, decoded, strict=True)]
        return rows

    def _states(
        self, windows: Sequence[Window], pcm: Sequence[np.ndarray], numbers: Sequence[int], device: torch.device
    ) -> dict[int, Tensor]:
        """Encoder states [frames, width] of each window, those of one length encoded together."""
        frames = [None if self.frames is None else self.frames(window) for window in windows]
        found: dict[int, Tensor] = {}
        for length in dict.fromkeys(frames):
            alike = [i for i, each in enumerate(frames) if each == length]
            waves = self.encoding.log_mel.pad([pcm[i] for i in alike])
            audio = replace(AudioBatch.to_encode(waves, [numbers[i] for i in alike]), frames=length)
            found |= zip(alike, self.encoding.states(audio, device, exact=True), strict=True)
        return found

    def _row(self, window: Window, number: int, decoded: Decoded) -> LabelRow:
        text = text_of(self.targets.tokenizer, decoded.tokens).strip()
        human = window.text
        error = None
        if human is not None:
            error = error_rates([human], [text], self.config.text_language, self.normalizer)[0].rate
        return LabelRow(
            window=number,
            key=window.key,
            clips=[clip.name for clip in window.clips],
            starts=[clip.start for clip in window.clips],
            seconds=window.seconds,
            prefix=decoded.prompt,
            tokens=decoded.tokens,
            finished=decoded.finished,
            text=text,
            human_text=human,
            error=error,
            mean_log_probability=decoded.mean_log_probability,
            compression_ratio=compression_ratio(text),
        )


def label_windows(labeller: Labeller, windows: Sequence[Window], folder: Path, accelerator) -> None:
    """Writes `folder`/labels.parquet, with the labels of all windows; goes on where an earlier call stopped."""
    from tqdm import tqdm

    size, finished = labeller.options.batch_size, (folder / LABELS_FILE).is_file()
    starts = [] if finished else [s for s in range(0, len(windows), size) if not _usable(_shard(folder, s, size))]
    accelerator.wait_for_everyone()  # no process writes a shard before all have seen which are there
    mine = starts[accelerator.process_index :: accelerator.num_processes]

    def count(firsts: Iterable[int]) -> int:
        return sum(min(size, len(windows) - start) for start in firsts)

    def kept() -> str:
        there = (start for start in range(0, len(windows), size) if _shard(folder, start, size).is_file())
        return f"labels of {count(there)} of {len(windows)} windows are kept"

    silent, work = not accelerator.is_main_process, Throughput()
    with (
        stop_on_signals(kept) as check,
        tqdm(total=count(mine), desc="labelling", unit="window", disable=silent) as bar,
    ):
        for start in mine:
            begun, numbers = time.perf_counter(), range(start, min(start + size, len(windows)))
            rows = labeller.rows([windows[number] for number in numbers], numbers, accelerator.device)
            write_labels(_shard(folder, start, size), rows)
            work.add(len(numbers), sum(len(row.tokens) for row in rows), time.perf_counter() - begun)
            bar.update(len(numbers))
            check()
        accelerator.wait_for_everyone()
    if work.batches:
        logger.info("labelling: %s", work)
    if accelerator.is_main_process:
        if work.batches:
            work.save(folder, accelerator.num_processes)
        if not finished:
            shards = [_shard(folder, start, size) for start in range(0, len(windows), size)]
            rows = [row for shard in shards for row in read_labels(shard)]
            write_labels(folder / LABELS_FILE, sorted(rows, key=lambda row: row.window))
        for shard in folder.glob("shard-*"):  # only now: until the whole file is there, they are all there is
            shard.unlink()
    accelerator.wait_for_everyone()


def _shard(folder: Path, start: int, size: int) -> Path:
    """Named for its windows, so that shards of another batch size are not mistaken for these."""
    return folder / f"shard-{size:04d}-{start:08d}.parquet"


def _usable(shard: Path) -> bool:
    """Whether a shard is there and whole; prints where one is damaged."""
    if not shard.is_file() or is_whole(shard):
        return shard.is_file()
    logger.warning("%s: is damaged; its windows are labelled again", shard)
    return False


def label_options(config: Config) -> Options:
    """Plain greedy decoding, as the main will decode."""
    return Options(
        language=config.language,
        task=config.task,
        draft_tokens=0,
        batch_size=config.distill.label_batch_size,
        log_probabilities=True,
    )
