"""The tokens that a draft may propose: the most frequent ones of the labels, beside the assistant's checkpoint.

The output head of a two-layer draft outweighs its layers (large-v3: 66 M against 52 M parameters), and a language uses
a fraction of the tokens that it covers. A draft whose head is sliced to that fraction is cheaper; what it can no longer
propose the main says itself, so the output stays the same. The checkpoint keeps its whole head.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..runs import write_text
from .load import read_config

if TYPE_CHECKING:
    from torch import Tensor

DRAFT_VOCABULARY_FILE = "draft_vocabulary.json"


@dataclass(frozen=True)
class DraftVocabulary:
    """The tokens that a draft's smaller output head can propose."""

    tokens: tuple[int, ...]  # ascending
    share: float  # of the labels' tokens that was asked for
    covered: float  # that the list covers

    @classmethod
    def covering(cls, labels: Iterable[Sequence[int]], share: float) -> "DraftVocabulary":
        """The smallest list that covers a share of all tokens of the labels; of equally frequent ones the lowest."""
        counts = Counter(token for label in labels for token in label)
        total, covered, chosen = counts.total(), 0, []
        for token, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            if covered >= share * total:
                break
            chosen.append(token)
            covered += count
        return cls(tuple(sorted(chosen)), share, covered / total if total else 0.0)

    @property
    def tensor(self) -> "Tensor":
        """[tokens], what Engine(draft_vocabulary=...) takes"""
        import torch

        return torch.tensor(self.tokens, dtype=torch.long)

    def save(self, folder: Path) -> None:
        """Writes `folder`/draft_vocabulary.json, completely or not at all."""
        write_text(folder / DRAFT_VOCABULARY_FILE, json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "DraftVocabulary | None":
        """None where the assistant has none. Raises InputError for one that cannot be read or is another model's."""
        path = folder / DRAFT_VOCABULARY_FILE
        if not path.is_file():
            return None
        size = read_config(folder)["vocab_size"]
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            tokens = tuple(found["tokens"])
            good = len(tokens) > 0 and all(type(token) is int and 0 <= token < size for token in tokens)
            found = cls(tokens, float(found["share"]), float(found["covered"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: is not a draft vocabulary; remove the file to draft from all tokens.") from error
        if not good:
            raise InputError(
                f"{path}: expected token ids from 0 to {size - 1}; remove the file to draft from all tokens."
            )
        return found


def draft_token_ids(folder: Path) -> "Tensor | None":
    """The token ids that an assistant's draft is sliced to; None: all."""
    found = DraftVocabulary.load(folder)
    return None if found is None else found.tensor
