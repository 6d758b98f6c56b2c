"""Speech of any length: Whisper's sequential algorithm, a chunked mode, word times and subtitles."""

from .recording import Segment, Transcription, Word
from .transcribe import transcribe

__all__ = ["Segment", "Transcription", "Word", "transcribe"]
