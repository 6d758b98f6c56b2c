"""Texts in the form in which they are compared: Whisper's English normalizer for English, its basic one elsewhere.

Unlike Whisper's, the basic one does not split words at combining marks, which would turn Hindi into fragments.
"""

import re
import unicodedata
from typing import Any

from ..errors import InputError


def basic_normalize(text: str) -> str:
    """Whisper's basic normalizer, except that combining marks stay: Hindi, Thai and Arabic keep their vowels."""
    text = unicodedata.normalize("NFKC", text.lower())
    text = re.sub(r"[<\[][^>\]]*[>\]]|\([^)]*\)", "", text)
    kept = (c if unicodedata.category(c)[0] in "LMN" or c in "\u200c\u200d" else " " for c in text)
    return " ".join("".join(kept).split())


def normalization_name(language: str) -> str:
    """What is done to both texts before they are compared, in words."""
    if language == "en":
        return "Whisper's English text normalizer (case, punctuation, spelling and numbers do not count)"
    return "Whisper's basic text normalizer, which keeps combining marks here (case and punctuation do not count)"


class Normalizer:
    """text -> the form in which transcripts of a language are compared."""

    def __init__(self, language: str, spelling: dict[str, str] | None = None):
        """`spelling`: the British-to-American map of a checkpoint's normalizer.json.

        Raises InputError where the language is English and `spelling` is missing.
        """
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
    def of(cls, language: str, tokenizer: Any) -> "Normalizer":
        """With the spelling map of a checkpoint's tokenizer (transformers), where it has one."""
        return cls(language, getattr(tokenizer, "english_spelling_normalizer", None) or None)

    def __call__(self, text: str) -> str:
        """The text without what is not compared: case, punctuation and, in English, spelling."""
        return self._english(text) if self._english else basic_normalize(text)
