"""Speech of any length: Whisper's sequential algorithm, a chunked mode, word times and subtitles."""

from .features import cut, quiet_cuts, silence, spectrogram
from .recording import Segment, Transcription, Word
from .subtitles import FORMATS
from .transcribe import Audio, knows_timestamps, transcribe

__all__ = [
    "FORMATS",
    "Audio",
    "Segment",
    "Transcription",
    "Word",
    "cut",
    "knows_timestamps",
    "quiet_cuts",
    "silence",
    "spectrogram",
    "transcribe",
]
