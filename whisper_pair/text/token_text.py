"""Tokens -> text.

A tokenizer's own decode takes every token for byte-level BPE, in which a letter such as ë stands for a byte that is no
character by itself. A word that was added to the vocabulary is plain text, so "Coëvorden" would lose its ë. Here added
words are put in as they were added, and what is between them is decoded.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

CONTROL = re.compile(r"<\|.*\|>")  # the names of special tokens and timestamps


@lru_cache(maxsize=8)
def added_words(tokenizer) -> dict[int, str]:
    """Words that the vocabulary's owner added, token -> text; special tokens and timestamps are left out."""
    added = tokenizer.added_tokens_decoder.items()
    return {token: word.content for token, word in added if not word.special and not CONTROL.fullmatch(word.content)}


def text_of(tokenizer, tokens: Sequence[int], special_tokens: bool = False) -> str:
    """The text of `tokens`, with the space that opens it. `special_tokens`: their names are kept; timestamps never."""
    words = added_words(tokenizer)
    parts: list[str] = []
    for added, run in groupby(tokens, key=words.__contains__):
        own = list(run)
        parts += (
            [words[token] for token in own]
            if added
            else [tokenizer.decode(own, skip_special_tokens=not special_tokens)]
        )
    return "".join(parts)
