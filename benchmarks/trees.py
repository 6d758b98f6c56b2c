"""Trees of drafts against chains on real speech: the same text, the tokens that a round wins, and when they pay.

    python benchmarks/trees.py --speech dutch --work outputs/trees --machine cpu \\
        --pair "whisper-base + whisper-tiny=whisper-base,whisper-tiny" \\
        --pair "fine-tuned whisper-base + its assistant=outputs/real-dutch-base/main,outputs/real-dutch-base/assistant"

`--speech` holds validation/ and test/, as benchmarks/dutch_speech.py writes them. Trees and chains are chosen on the
validation clips and scored on the test clips, by exact replay of the assistant's ranks; then they are decoded, and the
engine's own counters must say the same, the tokens what transformers' greedy says. Costs are an H100's
(results/decoding-h100.json); `auto` is timed here, in the process's CPU seconds. What was measured is kept in --work:
a call that was stopped goes on where it was. The encoders run in bf16, once; decoders run in float32.
"""

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import adaptive_trees
from benchmarks.crossed import LONGEST_CHAIN, best_chain, best_of, h100_costs, largest, won
from benchmarks.results import write_result
from benchmarks.tree_results import targets
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import checkpoint_folder, draft_token_ids, load_draft, load_main, load_processor
from whisper_pair.config import Data, Source
from whisper_pair.data import features_of, load_test_clips
from whisper_pair.decoding import (
    DraftTree,
    Engine,
    Options,
    TokenRanks,
    accepted_per_tree,
    agreement,
    encode,
)
from whisper_pair.decoding.prefixes import forced_prefixes
from whisper_pair.runs import write_json

LIMIT = 96  # tokens: on clips of a few seconds only a loop is longer
NODES, MOST_NODES = (2, 4, 8, 16, 32), 32
BATCH_SIZES = (1, 8)
DECODED = (("best tree", 1), ("best tree", 8), ("chain as deep", 1))
TIMED_CLIPS, REPEATS = 24, 3
AT_ONCE = 8  # clips in the encoder


@dataclass(frozen=True)
class Speech:
    """Clips of one part, as each encoder sees them."""

    states: Tensor  # [n, F, d] of the main's encoder
    draft_states: Tensor | None  # of the assistant's own, if it has one

    @property
    def of_draft(self) -> Tensor:
        """What the assistant reads."""
        return self.states if self.draft_states is None else self.draft_states

    def first(self, count: int) -> "Speech":
        """Some of the clips."""
        return Speech(self.states[:count], None if self.draft_states is None else self.draft_states[:count])


class Case:
    """One pair, and what is known of it so far."""

    def __init__(self, name: str, main: str, assistant: str, args: argparse.Namespace):
        folder = checkpoint_folder(assistant)
        self.name, self.args = name, args
        self.main, self.draft = (
            load(at, torch.float32) for load, at in ((load_main, checkpoint_folder(main)), (load_draft, folder))
        )
        self.engine = Engine(self.main, self.draft, draft_token_ids(folder))
        self.log_mel = LogMel(load_processor(checkpoint_folder(main)).feature_extractor)
        self.file = args.work / f"{name.replace(' ', '-')}.json"
        self._grown: dict[str, list[adaptive_trees.GrownTrees]] = {}
        self.known: dict[str, Any] = json.loads(self.file.read_text()) if self.file.is_file() else {}

    def once(self, what: str, measure: Callable[[], Any]) -> Any:
        """What was measured, by this call or an earlier one."""
        if what not in self.known:
            begun = time.process_time()
            self.known[what] = measure()
            write_json(self.file, self.known)
            print(f"{self.name}: {what} ({time.process_time() - begun:.0f} s)", flush=True)
        return self.known[what]

    def speech(self, part: str) -> Speech:
        """The clips of a part, encoded."""
        source = Source(folder=str(self.args.speech / part))
        data = Data(train=(), validation=(), test=(source,), cache=str(self.args.work / "data"), workers=0)
        clips = load_test_clips(data.test, data, self.log_mel.seconds, "test")[: self.args.clips]
        encoders = [model.model.encoder for model in (self.main, self.draft) if model.config.is_encoder_decoder]
        found: tuple[list[Tensor], list[Tensor]] = ([], [])
        for at in range(0, len(clips), AT_ONCE):
            features = features_of(clips[at : at + AT_ONCE], self.log_mel)
            for encoder, kept in zip(encoders, found, strict=False):
                with torch.autocast("cpu", torch.bfloat16):
                    states = encode(encoder, features)
                kept.append(states.float())
        ours, theirs = found
        return Speech(torch.cat(ours), torch.cat(theirs) if theirs else None)

    @cached_property
    def test(self) -> Speech:
        return self.speech("test")

    @cached_property
    def validation(self) -> Speech:
        return self.speech("validation")

    def options(self, batch_size: int = 8, drafts: Any = 0) -> Options:
        return Options(self.args.language, max_new_tokens=LIMIT, batch_size=batch_size, draft_tokens=drafts)

    def decode(self, speech: Speech, options: Options, engine: Engine | None = None) -> list:
        drafting = options.draft_tokens != 0
        return (engine or self.engine).decode(
            encoder_states=speech.states, draft_states=speech.draft_states if drafting else None, options=options
        )

    def greedy(self, part: str) -> list[list[int]]:
        """The main's tokens, by our engine alone."""
        return self.once(
            f"{part} tokens", lambda: [row.tokens for row in self.decode(getattr(self, part), self.options())]
        )

    def theirs(self) -> list[list[int]]:
        """The same by transformers, of the test clips."""
        return self.once("transformers' tokens", lambda: generated(self.main, self.test.states, self.args.language))

    def ranks(self, part: str) -> list[TokenRanks]:
        tokens = self.greedy(part)
        found = self.once(
            f"{part} ranks",
            lambda: [asdict(each) for each in self.engine.ranks(getattr(self, part).of_draft, tokens, self.options())],
        )
        return [TokenRanks(tuple(r["ranks"]), tuple(r["end_ranks"]), r["finished"], r["limit"]) for r in found]

    def decoded(self, drafts: DraftTree, batch_size: int) -> dict[str, Any]:
        """A decoding of all test clips against the main alone and against the replay."""
        greedy, theirs, ranks = self.greedy("test"), self.theirs(), self.ranks("test")

        def measure() -> dict[str, Any]:
            rows = self.decode(self.test, self.options(batch_size, drafts))
            replayed = [accepted_per_tree(each, drafts) for each in ranks]
            counted = [list(zip(row.drafted_per_round, row.accepted_per_round, strict=True)) for row in rows]
            rounds, accepted = sum(row.rounds for row in rows), sum(row.accepted for row in rows)
            return {
                "differ_from_greedy": sum(row.tokens != one for row, one in zip(rows, greedy, strict=True)),
                "differ_from_transformers": sum(row.tokens != one for row, one in zip(rows, theirs, strict=True)),
                "counters_differ": sum(one != other for one, other in zip(counted, replayed, strict=True)),
                "rounds": rounds,
                "tokens_per_round": 1 + accepted / rounds,
            }

        return self.once(f"decoded {drafts.text}, batch {batch_size}", measure)

    def grown(self, part: str) -> list[adaptive_trees.GrownTrees]:
        if part not in self._grown:
            _, head = self.engine.heads(False)
            assert self.engine.draft is not None
            assert head is not None
            grower = adaptive_trees.Grower(self.engine.draft, head, self.engine.encoders.frames)
            (prefix,) = forced_prefixes(self.engine.special, 1, self.options(), None, None)
            self._grown[part] = [
                grower.grow(states, prefix, tokens)
                for states, tokens in zip(getattr(self, part).of_draft, self.greedy(part), strict=True)
            ]
        return self._grown[part]

    def adaptive(self, policies: Sequence[adaptive_trees.Policy]) -> dict[str, Any]:
        """The best adaptive tree, chosen on the validation clips."""
        costs = h100_costs()
        policy = adaptive_trees.best_policy(self.grown("validation"), costs, policies)
        found = adaptive_trees.won(self.grown("test"), policy, costs)
        return {"policy": str(policy), "tokens_per_round": found.tau, "speedup": found.speedup}

    def auto(self, batch_size: int) -> dict[str, Any]:
        """`auto` with trees against `auto` with chains alone, in turns: CPU seconds of decoding from encoder states."""

        def measure() -> dict[str, Any]:
            speech = self.test.first(TIMED_CLIPS)
            chains = Engine(self.main, self.draft, self.engine.draft_vocabulary, like=self.engine, trees=())
            engines, options = {"trees": self.engine, "chains": chains}, self.options(batch_size, "auto")
            taken: dict[str, list[float]] = {name: [] for name in engines}
            drafts: dict[str, str] = {}
            for engine in engines.values():
                engine.measure_rounds(options)
                self.decode(speech, options, engine)
            for _ in range(REPEATS):
                for name, engine in engines.items():
                    begun = time.process_time()
                    rows = self.decode(speech, options, engine)
                    taken[name].append(time.process_time() - begun)
                    drafts[name] = f"{sum(row.drafted for row in rows) / sum(row.rounds for row in rows):.2f}"
            ratio = statistics.median(taken["chains"]) / statistics.median(taken["trees"])
            return {"seconds": taken, "drafted_per_round": drafts, "chains_over_trees": ratio}

        return self.once(f"auto, batch {batch_size}", measure)

    def row(self) -> dict[str, Any]:
        """All that is measured of the pair."""
        costs, held_out, found = h100_costs(), self.ranks("validation"), self.ranks("test")
        tokens = sum(len(each.ranks) for each in found)
        ranks = [rank for each in found for rank in each.ranks]
        chain, tree = best_chain(costs)(held_out), best_of(costs, MOST_NODES)(held_out)
        small = best_of(costs, 16)(held_out)
        same_passes = DraftTree.chain(tree.depth)
        named = {"best chain": chain, "best tree": tree, "best tree of 16": small, "chain as deep": same_passes}
        offline = {name: won(found, drafts, costs) for name, drafts in named.items()}
        by_nodes = {
            str(nodes): {
                "chain": won(found, DraftTree.chain(nodes), costs).tau if nodes <= LONGEST_CHAIN else None,
                "tree": won(found, best_of(costs, nodes)(held_out), costs).tau,
            }
            for nodes in NODES
        }
        by_depth = {
            str(depth): {
                "chain": won(found, DraftTree.chain(depth), costs).tau,
                "tree of 16": won(found, largest(16, depth)(held_out), costs).tau,
            }
            for depth in range(1, 7)
        }
        decoded = [{"drafts": name, "batch_size": size, **self.decoded(named[name], size)} for name, size in DECODED]
        adaptive = {
            name: self.once(f"adaptive, {name}", lambda policies=policies: self.adaptive(policies))
            for name, policies in adaptive_trees.KINDS.items()
        }
        best = offline["best tree"].speedup
        return {
            "pair": self.name,
            "clips": len(found),
            "tokens": tokens,
            "agreement": agreement(each.matches for each in found),
            "rank_shares": [ranks.count(rank) / tokens for rank in range(4)],
            "drafts": {name: {"nodes": len(one), "depth": one.depth, "paths": one.text} for name, one in named.items()},
            "replayed": {
                name: {"tokens_per_round": one.tau, "h100_speedup": one.speedup} for name, one in offline.items()
            },
            "tokens_per_round_by_nodes": by_nodes,
            "tokens_per_round_by_draft_passes": by_depth,
            "decoded": decoded,
            "adaptive": {name: one | {"over_best_tree": one["speedup"] / best} for name, one in adaptive.items()},
            "auto": {str(size): self.auto(size) for size in BATCH_SIZES},
        }


def generated(model: Any, states: Tensor, language: str) -> list[list[int]]:
    """transformers' own greedy tokens, 8 windows at a time."""
    end, rows = model.generation_config.eos_token_id, []
    for batch in states.split(8):
        sequences = model.generate(
            encoder_outputs=BaseModelOutput(batch.clone()),
            language=language,
            task="transcribe",
            max_new_tokens=LIMIT,
            return_dict_in_generate=True,
            force_unique_generate_call=True,
        ).sequences.tolist()
        rows += [row[4 : row.index(end, 4) + 1] if end in row[4:] else row[4:] for row in sequences]
    return rows


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", action="append", required=True, metavar="NAME=MAIN,ASSISTANT")
    parser.add_argument("--speech", type=Path, required=True, help="a folder with validation/ and test/")
    parser.add_argument("--work", type=Path, required=True, help="where measurements are kept")
    parser.add_argument("--language", default="nl")
    parser.add_argument("--clips", type=int, help="the first so many of each part")
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser.parse_args(arguments)
    args.device = "cpu"
    args.work.mkdir(parents=True, exist_ok=True)
    transformers.logging.set_verbosity_error()
    rows = []
    for pair in args.pair:
        name, folders = pair.split("=", 1)
        rows.append(Case(name, *folders.split(","), args).row())
    return write_result("trees", args, [shlex.quote(word) for word in arguments], rows, targets(rows))


if __name__ == "__main__":
    main()
