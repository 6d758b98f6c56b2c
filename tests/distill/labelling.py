"""Labelling for tests: the micro Whisper's, of some windows, in this process or in others.

Others come from a server that has imported everything and has no threads. A fork of the tests' own process would hang
where another of its threads held a lock.
"""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from transformers import WhisperForConditionalGeneration, WhisperProcessor

from distill.labelling import Labeller, label_options, label_windows
from whisper_pair.audio import LogMel
from whisper_pair.commands.command_line import guarded
from whisper_pair.config import load_config
from whisper_pair.data import Window, load_training_clips
from whisper_pair.data.packing import pack
from whisper_pair.decoding import Engine
from whisper_pair.text import Normalizer
from whisper_pair.training import FrozenEncoder, TargetTokens

OPTIONS = ["distill.label_batch_size=3", "data.timestamps=0.3", "data.previous_text=0.3"]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__])


def process(index: int = 0, of: int = 1) -> Any:
    """What labelling asks of accelerate."""
    return SimpleNamespace(
        process_index=index, num_processes=of, is_main_process=index == 0, device="cpu", print=print,
        wait_for_everyone=lambda: None,
    )  # fmt: skip


def labelling_of(path: Path) -> tuple[Labeller, list[Window]]:
    """A config's Labeller, and windows of its corpus: some packed, some with timestamps, some prompted."""
    config = load_config(path, OPTIONS)
    processor = WhisperProcessor.from_pretrained(config.model)
    model = WhisperForConditionalGeneration.from_pretrained(config.model).eval()
    log_mel = LogMel(processor.feature_extractor)
    labeller = Labeller(
        Engine(model),
        FrozenEncoder(model.model.encoder, log_mel),
        TargetTokens.of(model, processor.tokenizer, "nl", "transcribe"),
        config,
        Normalizer("nl"),
        replace(label_options(config), max_new_tokens=12),
    )
    corpus = load_training_clips(config.data.train, config.data, log_mel.seconds)
    halves = [c for clip in corpus.clips for c in (replace(clip, seconds=1.5), replace(clip, seconds=1.5, start=1.5))]
    return labeller, pack(halves, config.data, log_mel.seconds, 0)


class Signal(NamedTuple):
    """What a process sends itself while it labels."""

    number: int
    shards: int  # that are there by then
    seconds: float  # after the next batch has begun, and before the one after that


def started(path: Path, folder: Path, index: int = 0, barrier: Any = None, sent: Signal | None = None) -> Any:
    """A process that labels a config's windows into a folder: one of as many as meet at the barrier, or the only one.
    It prints into the folder's `messages`, and ends as a command does."""
    found = SERVER.Process(target=_label, args=(path, folder, index, barrier, sent))
    found.start()
    return found


def _label(path: Path, folder: Path, index: int, barrier: Any, sent: Signal | None) -> None:
    os.dup2(os.open(folder / "messages", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    labeller, windows = labelling_of(path)
    if sent is not None:
        first = max(0, sent.shards - len(list(folder.glob("shard-*.parquet"))))
        object.__setattr__(labeller, "rows", _sending(labeller.rows, sent, first))
    us = process() if barrier is None else process(index, barrier.parties)
    if barrier is not None:
        us.wait_for_everyone = barrier.wait
    os._exit(guarded(lambda: label_windows(labeller, windows, folder, us)))


def _sending(rows: Callable[..., Any], sent: Signal, first: int) -> Callable[..., Any]:
    """`rows` of each batch; while that of number `first` is made, or is written, the signal comes."""
    calls = itertools.count()

    def made(*given: Any) -> Any:
        call = next(calls)
        if call == first:
            threading.Timer(sent.seconds, signal.pthread_kill, (threading.main_thread().ident, sent.number)).start()
        elif call > first:
            time.sleep(60)  # the signal is late, on a busy machine
        return rows(*given)

    return made
