"""What a distillation starts from: the main, and the speech that it labels."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import Capabilities, load_main, load_processor
from whisper_pair.config import Config, Data
from whisper_pair.data import Clip, Corpus, Window, load_test_clips, load_training_clips, pack, perturbed_copies
from whisper_pair.decoding import Options
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

    @classmethod
    def read(cls, config: Config, folder: Path, dtype: torch.dtype) -> "DistillationInputs":
        """`folder`: the main's; `dtype`: what it runs in.

        Raises InputError for whatever cannot be used, before anything is computed.
        """
        processor = load_processor(folder)
        tokenizer, log_mel = processor.tokenizer, LogMel(processor.feature_extractor)
        main = load_main(folder, dtype).requires_grad_(False)
        targets = TargetTokens.of(main, tokenizer, config.language, config.task)
        data = taught(config.data, Capabilities.load(folder))
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
        )

    @property
    def options(self) -> Options:
        """How the main labels: plain greedy decoding."""
        return label_options(self.config)

    @property
    def states_shape(self) -> tuple[int, int]:
        """[frames, width] of a window's encoder states"""
        return self.main.config.max_source_positions, self.main.config.d_model


def taught(data: Data, capabilities: Capabilities | None) -> Data:
    """The config's data, without what the main was not trained for: its labels would be wrong text.

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
    if data.timestamps and not capabilities.writes_timestamps:
        logger.info("labels without timestamps: the main was trained without them")
        data = replace(data, timestamps=0.0)
    if data.previous_text and not capabilities.takes_previous_text:
        logger.info("labels without previous text: the main was trained without it")
        data = replace(data, previous_text=0.0)
    return data
