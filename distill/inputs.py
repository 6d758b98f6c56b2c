"""What a distillation starts from: the main, and the speech that it labels."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import Capabilities, ShortWindows, load_main, load_processor
from whisper_pair.config import Config, Data
from whisper_pair.data import Clip, Corpus, Window, load_test_clips, load_training_clips, pack, perturbed_copies
from whisper_pair.decoding import Options, window_frames
from whisper_pair.text import Normalizer
from whisper_pair.training import TargetTokens

from .labelling import label_options

logger = logging.getLogger("whisper_pair.distill")


@dataclass(frozen=True)
class DistillationInputs:
    """The main and the speech, loaded and checked."""

    config: Config
    main: Any  # frozen, in the precision that it runs in
    processor: Any  # WhisperProcessor
    log_mel: LogMel
    targets: TargetTokens
    normalizer: Normalizer
    corpus: Corpus
    windows: list[Window]  # of the corpus, and their perturbed copies: to be labelled
    held_out: list[Clip]  # to validate on
    short_windows: ShortWindows | None = None  # that the main was trained on; None: all windows are full

    @classmethod
    def read(cls, config: Config, folder: Path, dtype: torch.dtype) -> "DistillationInputs":
        """`folder`: the main's; `dtype`: what it runs in.

        Raises InputError for whatever cannot be used, before anything is computed.
        """
        processor = load_processor(folder)
        tokenizer, log_mel = processor.tokenizer, LogMel(processor.feature_extractor)
        main = load_main(folder, dtype).requires_grad_(False)
        targets = TargetTokens.of(main, tokenizer, config.language, config.task)
        trained_as = Capabilities.load(folder)
        data = taught(config.data, trained_as)
        targets.check(data.timestamps, data.previous_text)
        held_out = load_test_clips(config.data.validation, data, log_mel.seconds, "validation")
        corpus = load_training_clips(config.data.train, data, log_mel.seconds)
        windows = pack(corpus.clips, data, log_mel.seconds, config.seed)
        windows += perturbed_copies(
            corpus.clips, data, config.distill.perturb, log_mel.seconds, config.seed, log_mel.samples
        )
        return cls(
            config=config,
            main=main,
            processor=processor,
            log_mel=log_mel,
            targets=targets,
            normalizer=Normalizer.of(config.text_language, tokenizer),
            corpus=corpus,
            windows=windows,
            held_out=held_out,
            short_windows=None if trained_as is None else trained_as.short_windows,
        )

    @property
    def options(self) -> Options:
        """How the main labels: plain greedy decoding."""
        return label_options(self.config)

    @property
    def margin(self) -> float | None:
        """Seconds from the end of a window's speech to its own end, as in decoding; None: all windows are full."""
        return None if self.short_windows is None else self.short_windows.margin

    def frames(self, window: Window | Clip) -> int:
        """Encoder frames of a window, or of a clip alone, as decoding will take it."""
        full: int = self.main.config.max_source_positions
        seconds = window.seconds if isinstance(window, Clip) else window.audio_seconds
        return window_frames(seconds, self.margin, full)


def taught(data: Data, capabilities: Capabilities | None) -> Data:
    """The config's data, without what the main was not trained for: its labels would be wrong text. With clips alone
    in as large a share as the main met short windows, if it did.

    `capabilities`: the main's; None: unknown, and assumed to be what the config says.
    """
    if capabilities is None:
        if data.timestamps:
            logger.info(
                "labels with timestamps in %g of the windows: set data.timestamps: 0 if the main, of which nothing is "
                "known, was fine-tuned without them",
                data.timestamps,
            )
        return data
    if capabilities.short_windows is not None and data.pack:
        share = max(data.unpacked_share, capabilities.short_windows.share)
        logger.info("labels of %g of the clips alone too: the main was trained on short windows", share)
        data = replace(data, unpacked_share=share)
    if data.timestamps and not capabilities.writes_timestamps:
        logger.info("labels without timestamps: the main was trained without them")
        data = replace(data, timestamps=0.0)
    if data.previous_text and not capabilities.takes_previous_text:
        logger.info("labels without previous text: the main was trained without it")
        data = replace(data, previous_text=0.0)
    return data
