"""How fast the pair would be with the student as it is: what chooses the best checkpoint.

The main's greedy transcripts of the validation clips are decoded once. From then on a validation is one parallel pass
of the student over them, which decides every round at every draft length (whisper_pair.decoding.acceptance).
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list

from whisper_pair.decoding import Costs, Engine, Match, Options, acceptances, agreement, predicted_speedup
from whisper_pair.listening import Listener
from whisper_pair.runs import write_json
from whisper_pair.training import Score

SHOWN = (1, 2, 4, 8)  # draft lengths whose mean accepted length is logged


class Drafting:
    """Scores students against one main on the same clips. Every process passes over its share and learns the whole."""

    def __init__(self, main, listener: Listener, options: Options, accelerator, folder: Path, vocabulary=None):
        """`vocabulary`: the token ids that the draft may propose; None: all."""
        self.main, self.listener, self.accelerator = main, listener, accelerator
        self.vocabulary = vocabulary
        self.options = replace(options, log_probabilities=False)
        clips = range(len(listener.clips))
        self.rows = list(clips[accelerator.process_index :: accelerator.num_processes])
        self.tokens = self._transcripts(folder / f"spoken-{accelerator.process_index}.json")
        self.yardstick = folder / "costs.json"
        self.costs: Costs | None = None  # measured at the first score, then kept: one yardstick for all checkpoints

    def _transcripts(self, file: Path) -> list[list[int]]:
        """The main's tokens for this process's clips, from an earlier start of this training where there was one."""
        if file.is_file():
            kept = json.loads(file.read_text())
            if kept["rows"] == self.rows:
                return kept["tokens"]
        tokens = [decoded.tokens for decoded in self.listener.transcribe(self.main, self.rows)]
        write_json(file, {"rows": self.rows, "tokens": tokens})
        return tokens

    def score(self, student) -> Score:
        engine = Engine(self.main, student, self.vocabulary)
        if self.costs is None:
            self.costs = self._costs(engine)
        matches = self._everyones(self._matches(engine))
        found = acceptances(matches)
        speedups = {
            count: predicted_speedup(
                acceptance.mean_accepted_length, count, self.costs.cost_ratio, self.costs.verification(count)
            )
            for count, acceptance in found.items()
        }
        best = max(speedups, key=speedups.__getitem__)
        figures = {"agreement": agreement(matches), "predicted_speedup": speedups[best], "best_draft_tokens": best}
        figures |= {f"tau_{count}": found[count].mean_accepted_length for count in SHOWN}
        if self.vocabulary is not None:
            whole = self._everyones(self._matches(Engine(self.main, student)))
            figures["agreement_of_all_tokens"] = agreement(whole)
        return Score(figures, speedups[best])

    def _costs(self, engine: Engine) -> Costs:
        """Measured by the first process for all and kept on disk: a run that goes on judges by its first clock."""
        kept = [None]
        if self.accelerator.is_main_process:
            if not self.yardstick.is_file():
                write_json(self.yardstick, asdict(engine.costs(1)))
            kept = [json.loads(self.yardstick.read_text())]
        found = broadcast_object_list(kept)[0]
        by_count = ("verify", "rounds")
        return Costs(**found | {name: {int(n): t for n, t in found[name].items()} for name in by_count})

    def _matches(self, engine: Engine) -> list[Match]:
        found = []
        for start in range(0, len(self.rows), 32):  # bounds the encoder states held at once
            rows, tokens = self.rows[start : start + 32], self.tokens[start : start + 32]
            found += engine.agreement(self.listener.states(self.main, rows), tokens, self.options)
        return found

    def _everyones(self, mine: list[Match]) -> list[Match]:
        if self.accelerator.num_processes == 1:
            return mine
        gathered: list[list[Match]] = [[] for _ in range(self.accelerator.num_processes)]
        torch.distributed.all_gather_object(gathered, mine)
        return [match for part in gathered for match in part]
