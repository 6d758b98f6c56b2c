"""What an evaluation will take, from decoding a few clips by the main alone.

An upper bound: every contender is counted as if it were as slow as the main decoding greedily, one clip at a time.
"""

import time

import torch

from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import load_main, load_processor, main_folder
from whisper_pair.config import Config
from whisper_pair.data import features_of, load_test_clips
from whisper_pair.decoding import Engine, Options
from whisper_pair.precision import DTYPES, resolved
from whisper_pair.runs import Estimate, peak_memory

from .common import trained_windows

SOME = 4  # clips
REREAD = 1.5  # windows that the sequential algorithm takes of a recording, over those that it lasts
CONTENDERS = 6  # timed beside each assistant: greedy and assisted, ours and transformers', the assistant, CTranslate2
IN_BOTH = 6  # timed where the main takes short windows: main, pair and encoder, over full and short ones


def rehearse(config: Config) -> str:
    """The estimate's sentence."""
    folder = main_folder(config)
    log_mel = LogMel(load_processor(folder).feature_extractor)
    clips = load_test_clips(config.data.test, config.data, log_mel.seconds, "test")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    main = load_main(folder, DTYPES[resolved(config.eval.precision, device, "eval.precision")], device)
    options = Options(language=config.language, task=config.task, batch_size=1, draft_tokens=0)
    engine = Engine(main)
    for measured in (False, True):  # the first pass warms up
        some = clips[: SOME if measured else 1]
        begun = time.perf_counter()
        features = features_of(some, log_mel, main.device)
        engine.decode(features, options)
        each = (time.perf_counter() - begun) / len(some)
    assistants = 1 + len(config.eval.compare)
    once = len(clips) * (2 + 2 * assistants)  # the main, the start, and each assistant in the pair and alone
    passes = min(config.eval.timed_clips, len(clips)) * (config.eval.repeats + 1)
    timed = passes * len(config.eval.batch_sizes)
    short = 0 if trained_windows(folder) is None else 3 * len(clips) + 2 * passes * IN_BOTH  # batch 1 and the largest
    long = REREAD * 60 * config.eval.long_form_minutes / log_mel.seconds  # windows, decoded twice by main and pair each
    seconds = each * (once + timed * CONTENDERS * assistants + 4 * long + short)
    estimate = Estimate("eval", len(clips), None, seconds, *peak_memory(), 10_000 * len(clips), 1)
    return f"{estimate}; at the most, taking each contender to be as slow as the main alone"
