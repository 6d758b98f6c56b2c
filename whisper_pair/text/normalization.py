"""What of a text counts when it is compared: Whisper's English normalizer for English, its basic one elsewhere.

The basic one is kept from splitting words at combining marks, which would turn Hindi into fragments.
"""

import re
import unicodedata

from ..errors import InputError


def basic_normalize(text: str) -> str:
    """Whisper's basic normalizer, but combining marks stay in their words: Hindi, Thai and Arabic keep their vowels."""
    text = unicodedata.normalize("NFKC", text.lower())
    text = re.sub(r"[<\[][^>\]]*[>\]]|\([^)]*\)", "", text)
    kept = (c if unicodedata.category(c)[0] in "LMN" or c in "\u200c\u200d" else " " for c in text)
    return " ".join("".join(kept).split())


class Normalizer:
    """text -> the form in which transcripts of a language are compared."""

    def __init__(self, language: str, spelling: dict[str, str] | None = None):
        """`spelling` is the British-to-American map of a checkpoint's normalizer.json; English needs it."""
        self._english = None
        if language == "en":
            if spelling is None:
                raise InputError(
                    "language en: the main's tokenizer lacks normalizer.json, which the English word error rate needs; "
                    "copy that file from any openai/whisper checkpoint into the main's folder."
                )
            from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

            self._english = EnglishTextNormalizer(spelling)

    @classmethod
    def of(cls, language: str, tokenizer) -> "Normalizer":
        """With the spelling that came with a checkpoint's tokenizer, where it did."""
        return cls(language, getattr(tokenizer, "english_spelling_normalizer", None) or None)

    def __call__(self, text: str) -> str:
        return self._english(text) if self._english else basic_normalize(text)
