"""Speech corpora -> clips -> windows.

A clip is one row of a corpus. A window is what Whisper's encoder sees at once (30 s): one clip, or several of one
speaker joined with short silences, since the encoder works on the whole window however little speech it holds.

sources: the layout of a corpus (listed, tars, hub; layouts: those of other tools) and its rows (rows, cells, tables,
paths; parts: a share of them; transcripts: special tokens in texts); look: what a corpus holds, before anything is
trained; survey: what one pass over the audio finds; corpus: which clips are used, and why the others are not; packing:
clips -> windows; report: data.md.
"""

from ..audio import Slice
from .clips import Clip, HubRow, Window, features_of
from .corpus import Corpus, audited, drop_long_texts, load_test_clips, load_training_clips, long_test_clips
from .fingerprints import fingerprint, windowing_settings
from .look import Look, look
from .packing import (
    TIMESTAMP_TOKENS,
    alone,
    clips_per_window,
    pack,
    padding_saved,
    perturbed_copies,
    repeated_by_weight,
)
from .paths import shown
from .report import write_data_report
from .transcripts import WITHIN_MARK

__all__ = [
    "TIMESTAMP_TOKENS",
    "WITHIN_MARK",
    "Clip",
    "Corpus",
    "HubRow",
    "Look",
    "Slice",
    "Window",
    "alone",
    "audited",
    "clips_per_window",
    "drop_long_texts",
    "features_of",
    "fingerprint",
    "load_test_clips",
    "load_training_clips",
    "long_test_clips",
    "look",
    "pack",
    "padding_saved",
    "perturbed_copies",
    "repeated_by_weight",
    "shown",
    "windowing_settings",
    "write_data_report",
]
