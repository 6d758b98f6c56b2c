"""What the evaluations of a pair and of a main alone share: the clips, the main, and the written reports."""

from pathlib import Path

from transformers import WhisperForConditionalGeneration, WhisperProcessor

from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import Capabilities, ShortWindows, load_main
from whisper_pair.config import Config
from whisper_pair.data import Clip, load_test_clips
from whisper_pair.decoding import SpecialTokens
from whisper_pair.precision import DTYPES
from whisper_pair.runs import write_text

from .measuring import spread_out
from .reading import Document, draw, markdown, page

DECODED = "decoded"  # in the stage's work folder


def chosen_clips(config: Config, processor: WhisperProcessor) -> tuple[list[Clip], int, LogMel]:
    """The test clips that eval.limit leaves, how many there are without it, and their log-mel."""
    log_mel = LogMel(processor.feature_extractor)
    available = load_test_clips(config.data.test, config.data, log_mel.seconds, "test")
    return [available[row] for row in spread_out(len(available), config.eval.limit)], len(available), log_mel


def checked_main(config: Config, main_at: Path, precision: str, device: str) -> WhisperForConditionalGeneration:
    """The main. Raises InputError for a language or task that it does not know."""
    main = load_main(main_at, DTYPES[precision], device)
    special = SpecialTokens.of(main)
    special.check_task(config.task)
    special.language_token(config.language)
    return main


def trained_windows(main_at: Path) -> ShortWindows | None:
    """The short windows that the main was trained on; None: full ones alone."""
    found = Capabilities.load(main_at)
    return None if found is None else found.short_windows


def write_readings(document: Document, clips: list[Clip], folder: Path) -> None:
    """A report as Markdown, plots and a page, beside its report.json."""
    write_text(folder / "report.md", markdown(document))
    draw(document.figures, folder / "plots")
    write_text(folder / "report.html", page(document, clips))
