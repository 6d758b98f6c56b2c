"""Speech corpora -> clips -> windows.

A clip is one row of a corpus. A window is what Whisper hears at once (30 s): one clip, or several of one speaker joined
with short silences, since Whisper pays for the whole window however little speech it holds.

sources: rows of a corpus, whatever form it has (tables, tars and cells: how they are read; transcripts: special tokens
in texts); survey: what one pass over their audio finds; corpus: which clips are used, and why the others are not;
packing: clips -> windows; report: all of it for a reader.
"""

from ..audio import Slice
from .clips import Clip, HubRow, Window
from .corpus import Corpus, audited, drop_long_texts, load_test_clips, load_training_clips, long_test_clips
from .fingerprints import fingerprint, windowing_settings
from .packing import TIMESTAMP_TOKENS, clips_per_window, pack, padding_saved, perturbed_copies, repeated_by_weight
from .report import write_data_report
from .sources import shown
from .transcripts import WITHIN_MARK

__all__ = [
    "TIMESTAMP_TOKENS",
    "WITHIN_MARK",
    "Clip",
    "Corpus",
    "HubRow",
    "Slice",
    "Window",
    "audited",
    "clips_per_window",
    "drop_long_texts",
    "fingerprint",
    "load_test_clips",
    "load_training_clips",
    "long_test_clips",
    "pack",
    "padding_saved",
    "perturbed_copies",
    "repeated_by_weight",
    "shown",
    "windowing_settings",
    "write_data_report",
]
