"""What kind of token a token is, to see where an assistant errs."""

import unicodedata

from transformers import PreTrainedTokenizerBase

from whisper_pair.text import text_of

CLASSES = ("word start", "word inside", "punctuation", "digits", "timestamp", "end of text", "special")


def token_class(kind: str, piece: str, first: bool) -> str:
    """`kind`: as SpecialTokens.kind names it; `piece`: the token's text with its leading space; `first`: whether it
    opens the utterance.

    A piece that is part of a character (byte-level BPE splits rare ones) counts as the inside of a word.
    """
    if kind != "text":
        return kind
    text = piece.strip()
    if any(character.isdigit() for character in text):
        return "digits"
    if text and all(unicodedata.category(character)[0] == "P" for character in text):
        return "punctuation"
    return "word start" if piece.startswith(" ") or first else "word inside"


class Pieces:
    """token -> its text with its leading space, each decoded once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.known: dict[int, str] = {}

    def __call__(self, token: int) -> str:
        """The text of one token."""
        if token not in self.known:
            self.known[token] = text_of(self.tokenizer, [token], special_tokens=True)
        return self.known[token]
