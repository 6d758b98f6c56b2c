"""Validation of the student: how fast the pair would be with it. This chooses the best checkpoint.

The main's greedy transcripts of the validation clips are decoded once. After that a validation is one parallel pass of
the student over them, which decides every round at every draft length (whisper_pair.decoding.acceptance). The same
clips joined into full windows are scored beside them: there the student drafts deeper into a text.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from whisper_pair.config import Config
from whisper_pair.data import Clip, Window, pack
from whisper_pair.decoding import (
    Costs,
    DraftTree,
    Engine,
    Options,
    TokenRanks,
    acceptances,
    agreement,
    best_tree,
    predicted_speedup,
    trees_to_offer,
)
from whisper_pair.precision import in_dtype
from whisper_pair.runs import AudioExample, write_json
from whisper_pair.training import ValidationScore, Validator

from .examples import DraftExample, marked, table

SHOWN = (1, 2, 4, 8)  # draft lengths whose mean accepted length is logged

EXAMPLES = 8  # clips in the table of examples
WITH_AUDIO = 4  # of them, for a tracker


@dataclass(frozen=True)
class JoinedClips:
    """A window of held-out clips, read like one clip."""

    window: Window

    @property
    def name(self) -> str:
        """The window's."""
        return self.window.name

    @property
    def text(self) -> str | None:
        """Their human text; None where a clip has none."""
        return self.window.text

    @property
    def seconds(self) -> float:
        """Of the window."""
        return self.window.seconds

    def read(self) -> np.ndarray:
        """16-bit samples at 16 kHz."""
        return self.window.pcm()


def joined(clips: Sequence[Clip], config: Config, window_seconds: float) -> list[JoinedClips]:
    """The clips as training packs them; none where it does not, or where no two fit together."""
    windows = pack(clips, replace(config.data, unpacked_share=0.0), window_seconds, config.seed)
    return [JoinedClips(window) for window in windows if len(window.clips) > 1]


class HeldOutTranscripts:
    """The main's transcripts of clips; each process takes its share of them."""

    def __init__(self, main: Any, validator: Validator, options: Options, accelerator: Any, file: Path):
        """`file`: the start of the name of the file in which a process stores the transcripts, for later trainings."""
        self.main, self.validator, self.accelerator = main, validator, accelerator
        self.options = replace(options, log_probabilities=False)
        clips = range(len(validator.clips))
        self.rows = list(clips[accelerator.process_index :: accelerator.num_processes])
        self.tokens = self._transcripts(Path(f"{file}-{accelerator.process_index}.json"))

    def _transcripts(self, file: Path) -> list[list[int]]:
        if file.is_file():
            stored = json.loads(file.read_text())
            if stored["rows"] == self.rows:
                return [list(tokens) for tokens in stored["tokens"]]
        tokens = [decoded.tokens for decoded in self.validator.transcribe(self.main, self.rows)] if self.rows else []
        write_json(file, {"rows": self.rows, "tokens": tokens})
        return tokens

    def with_audio(self, examples: Sequence[DraftExample]) -> list[AudioExample]:
        """The first examples with their clips' audio and the drafts marked, for a tracker."""
        clips = [self.validator.clips[row] for row in self.rows]
        return [
            AudioExample(example.clip, clip.read(), marked(example, self.validator.tokenizer))
            for clip, example in zip(clips, examples, strict=False)
        ]

    def ranks(self, engine: Engine) -> list[TokenRanks]:
        """Which of the student's choices the main's tokens are, in all processes' clips."""
        found = []
        for start in range(0, len(self.rows), 32):  # bounds the encoder states held at once
            rows, tokens = self.rows[start : start + 32], self.tokens[start : start + 32]
            found += engine.ranks(self.validator.states(self.main, rows), tokens, self.options)
        if self.accelerator.num_processes == 1:
            return found
        gathered: list[list[TokenRanks]] = [[] for _ in range(self.accelerator.num_processes)]
        torch.distributed.all_gather_object(gathered, found)
        return [ranks for part in gathered for ranks in part]

    def examples(self, engine: Engine) -> list[DraftExample]:
        """The drafts in this process's first clips."""
        rows, tokens = self.rows[:EXAMPLES], self.tokens[:EXAMPLES]
        if not rows:
            return []
        chosen = engine.choices(self.validator.states(self.main, rows), tokens, self.options)
        names = [self.validator.clips[row].name for row in rows]
        return [DraftExample(*each) for each in zip(names, tokens, chosen, strict=True)]


class DraftValidator:
    """Scores students against one main: on clips, as tests hold them, and on the windows that they fill together."""

    def __init__(
        self,
        clips: HeldOutTranscripts,
        windows: HeldOutTranscripts | None,
        costs_file: Path,
        vocabulary: Tensor | None = None,
    ):
        """`costs_file`: stores the measured costs; `vocabulary`: ids that the draft may propose, None: all."""
        self.costs_file = costs_file
        self.clips, self.windows, self.vocabulary = clips, windows, vocabulary
        self.costs: Costs | None = None  # measured at the first score, the same for all checkpoints
        self.examples = ""  # of the latest student, as Markdown
        self.trees: list[DraftTree] = []  # of drafts, that suit the latest student

    def score(self, student: Any) -> ValidationScore:
        """The score is the speedup that the measured costs predict for the best draft length or tree of drafts."""
        main = self.clips.main
        student = in_dtype(student, main.dtype)  # as the pair will run
        engine = Engine(main, student, self.vocabulary)
        if self.costs is None:
            self.costs = self._costs(engine)
        ranks = self.clips.ranks(engine)
        matches = [each.matches for each in ranks]
        found = acceptances(matches)
        speedups = {
            count: predicted_speedup(
                acceptance.mean_accepted_length, count, self.costs.cost_ratio, self.costs.verification(count)
            )
            for count, acceptance in found.items()
        }
        best, tree = max(speedups, key=speedups.__getitem__), best_tree(ranks, self.costs.tree)
        speedup = max(speedups[best], tree.speedup)
        figures = {"agreement": agreement(matches), "predicted_speedup": speedup, "best_draft_tokens": best}
        figures |= {"tree_speedup": tree.speedup, "tree_nodes": len(tree.tree), "tree_depth": tree.tree.depth}
        self.trees = trees_to_offer(ranks, self.costs.tree)
        figures |= {f"tau_{count}": found[count].mean_accepted_length for count in SHOWN}
        figures["cost_ratio"] = self.costs.cost_ratio
        if self.vocabulary is not None:
            figures["agreement_of_all_tokens"] = self._agreement(self.clips, Engine(main, student))
        if self.windows is not None:
            figures["agreement_in_full_windows"] = self._agreement(self.windows, engine)
        examples = self.clips.examples(engine)
        self.examples = table(examples, self.clips.validator.tokenizer)
        return ValidationScore(figures, speedup, self.clips.with_audio(examples[:WITH_AUDIO]))

    def _agreement(self, transcripts: HeldOutTranscripts, engine: Engine) -> float:
        return agreement(each.matches for each in transcripts.ranks(engine))

    def _costs(self, engine: Engine) -> Costs:
        """Measured by the first process and stored: a run that is resumed compares by the same costs."""
        stored = [None]
        if self.clips.accelerator.is_main_process:
            if not self.costs_file.is_file():
                frames = self.clips.validator.frames(self.clips.main)
                write_json(self.costs_file, asdict(engine.costs(1, frames=median_low(frames))))
            stored = [json.loads(self.costs_file.read_text())]
        return Costs.of_json(broadcast_object_list(stored)[0])
