"""The engines of an evaluation: one a pair, and one of each assistant that decodes alone.

An engine's memory is mostly the main's caches, gigabytes for a large one. So engines are made here, and all pairs share
the caches. The draft length is an option of the call; the main alone is the judged pair's engine with
`draft_tokens=0`, which then runs what an engine without an assistant would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from whisper_pair.checkpoints import PairManifest, standalone_assistant
from whisper_pair.decoding import DraftTree, Engine


@dataclass(frozen=True)
class Assistant:
    """A loaded assistant."""

    name: str  # "ours", or the checkpoint it was loaded from
    folder: Path
    model: Any
    manifest: PairManifest | None
    vocabulary: torch.Tensor | None = None  # the token ids that it may propose; None: all
    trees: Sequence[DraftTree] | None = None  # that "auto" may draft; None: the engine's own

    @property
    def has_encoder(self) -> bool:
        """Whether it brings an encoder of its own."""
        return self.model.config.is_encoder_decoder


class Engines:
    """Made when they are first needed. The first assistant is the evaluated one."""

    def __init__(self, main, assistants: list[Assistant]):
        self.main, self.assistants = main, assistants
        self._pairs: dict[str, Engine] = {}
        self._alone: dict[int, Engine] = {}
        self._plain: Engine | None = None  # where there is no assistant

    @property
    def judged(self) -> Engine:
        """The judged pair; with `draft_tokens=0`, or without any assistant, the main alone."""
        if not self.assistants:
            self._plain = self._plain or Engine(self.main)
            return self._plain
        return self.pair(self.assistants[0])

    def pair(self, assistant: Assistant) -> Engine:
        """The main with this assistant."""
        if assistant.name not in self._pairs:
            first = next(iter(self._pairs.values()), None)
            self._pairs[assistant.name] = Engine(
                self.main, assistant.model, assistant.vocabulary, like=first, trees=assistant.trees
            )
        return self._pairs[assistant.name]

    def alone(self, assistant: Assistant) -> Engine:
        """The assistant by itself, without its draft vocabulary."""
        if id(assistant.model) not in self._alone:
            self._alone[id(assistant.model)] = Engine(standalone_assistant(self.main, assistant.model))
        return self._alone[id(assistant.model)]

    def release(self, *, but_the_judged: bool = False) -> None:
        """Frees their memory. An engine that is needed later is a new one."""
        judged = self.assistants[0].name if self.assistants else ""
        kept = {judged: self._pairs[judged]} if but_the_judged and judged in self._pairs else {}
        self._pairs, self._alone, self._plain = kept, {}, None
