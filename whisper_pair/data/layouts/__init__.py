"""The layouts of corpora that people have, each read in place: what is there says which it is.

recognize: which layout; described: what they all come to, and where audio may be; common_voice, lists (LJSpeech and
LibriSpeech), kaldi, lhotse, beside (texts in files of the same name) with timed_text; archives: unpacked once.
"""

from .archives import is_archive
from .described import Described
from .recognize import Recognized, kind_of, recognized

__all__ = ["Described", "Recognized", "is_archive", "kind_of", "recognized"]
