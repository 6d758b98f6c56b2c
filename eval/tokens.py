"""What kind of token a token is, for telling where an assistant errs."""

import unicodedata

CLASSES = ("word start", "word inside", "punctuation", "digits", "timestamp", "end of text", "special")


def token_class(token: int, piece: str, end: int, first_timestamp: int, first: bool) -> str:
    """`piece`: the token's text with its leading space; `first`: does it open the utterance?

    A piece that is part of a character (byte-level BPE splits rare ones) counts as the inside of a word.
    """
    if token == end:
        return "end of text"
    if token >= first_timestamp:
        return "timestamp"
    if token > end:
        return "special"
    text = piece.strip()
    if any(character.isdigit() for character in text):
        return "digits"
    if text and all(unicodedata.category(character)[0] == "P" for character in text):
        return "punctuation"
    return "word start" if piece.startswith(" ") or first else "word inside"


class Pieces:
    """token -> its text with its leading space, each decoded once."""

    def __init__(self, tokenizer):
        self.tokenizer, self.known = tokenizer, {}

    def __call__(self, token: int) -> str:
        if token not in self.known:
            self.known[token] = self.tokenizer.decode([token])
        return self.known[token]
