"""Which way of distilling gives the fastest pair: variants of one config, each trained and scored with the same main.

    whisper-pair run configs/real-dutch-base.yaml          # the fine-tuned main that all are scored with
    python benchmarks/recipes.py configs/real-dutch-base.yaml --runs outputs/recipes --seeds 0 1 2 \
        --foreign whisper-tiny --minutes 10 20 40 --machine cpu
    python benchmarks/pair.py tables                       # the table in docs/choices.md

A variant is a list of overrides (recipe_variants.py). Every run is scored on the config's test clips by the fine-tuned
main's own tokens: agreement, tokens won a round, and the speedup that the measured costs predict. A row is written when
its run ends, and a variant with a row is not run again. Runs that would compute the same labels and caches share them.

Matched or not: "as configured" is distilled from the fine-tuned main itself; "from the stock main" from the checkpoint
before fine-tuning, in the same way, and drafts with that checkpoint's encoder; a foreign assistant was made elsewhere.
"""

import argparse
import datetime
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.crossed import best_chain, best_of, crossed, h100_costs
from benchmarks.recipe_results import targets
from benchmarks.recipe_variants import BASE, Variant, variants
from benchmarks.results import machine, result_file, versions
from distill.distil import labels_stage
from distill.labelling import label_options
from distill.labels import LABELS_FILE, LabelRow, read_labels, write_labels
from eval.measuring import acceptance_section
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import (
    checkpoint_folder,
    draft_token_ids,
    load_draft,
    load_main,
    load_processor,
    main_folder,
    standalone_assistant,
    weight_digests,
)
from whisper_pair.config import Config, load_config
from whisper_pair.data import Clip, load_test_clips, load_training_clips
from whisper_pair.decoding import Costs, Engine, TokenRanks, tree_acceptance
from whisper_pair.decoding.rank_shares import TREES
from whisper_pair.precision import resolved
from whisper_pair.runs import device_type, write_json
from whisper_pair.training import Validator


class Recipes:
    """Trains variants of a config under one folder, and scores them with the config's finished main."""

    def __init__(self, path: str, overrides: list[str], runs: Path):
        self.path, self.overrides, self.runs = path, overrides, runs
        self.config = load_config(path, overrides)
        self.main_at, self.stock_at = main_folder(self.config), checkpoint_folder(self.config.model)
        runs.mkdir(parents=True, exist_ok=True)
        self.main = load_main(self.main_at, torch.float32)
        self.processor = load_processor(self.main_at)
        log_mel = LogMel(self.processor.feature_extractor)
        clips = load_test_clips(self.config.data.test, self.config.data, log_mel.seconds, "test")
        self.seconds = sum(clip.seconds for clip in clips)
        self.validator = Validator(clips, log_mel, self.processor.tokenizer, self.config, runs / "states")
        self.options = label_options(self.config)
        self.tokens = self._transcripts()
        self.costs_file = runs / "costs.json"
        stored = json.loads(self.costs_file.read_text()) if self.costs_file.is_file() else {}
        self.costs = {shape: Costs.of_json(costs) for shape, costs in stored.items()}

    def _transcripts(self) -> list[list[int]]:
        """The fine-tuned main's tokens of the test clips, decoded once."""
        file = self.runs / "transcripts.json"
        of = weight_digests(self.main_at) | {"clips": [clip.name for clip in self.validator.clips]}
        if file.is_file() and (stored := json.loads(file.read_text()))["of"] == of:
            return stored["tokens"]
        shutil.rmtree(self.runs / "states", ignore_errors=True)  # another main's encoder states
        tokens = [d.tokens for d in self.validator.transcribe(self.main, list(range(len(self.validator.clips))))]
        write_json(file, {"of": of, "tokens": tokens})
        return tokens

    def run(self, variant: Variant, seed: int) -> dict:
        """Trains where that is still to be done, and scores: a row of the result."""
        output = self.runs / f"{variant.name.replace(' ', '-').replace('%', 'percent')}-{seed}"
        model = self.main_at if variant.main == "main" else self.stock_at
        given = [f"model={model}", "train=null", f"output={output}", f"seed={seed}"]
        given = [*self.overrides, *given, *variant.overrides]
        config = load_config(self.path, given)
        self._prepare_labels(config, variant)
        if distilled([self.path, *given]):
            raise SystemExit(f"{variant.name}: distillation failed; see its messages above.")
        draft = load_draft(output / "assistant", torch.float32)
        if variant.main == "stock":  # its decoder was trained over the stock encoder, so it drafts with that one
            draft = standalone_assistant(load_main(self.stock_at, torch.float32), draft)
        return self.score(variant, seed, draft, draft_token_ids(output / "assistant"))

    def foreign(self, name: str) -> dict:
        at = checkpoint_folder(name)
        draft = load_draft(at, torch.float32)
        return self.score(Variant(Path(name).name, "matched or not"), None, draft, draft_token_ids(at))

    def score(self, variant: Variant, seed: int | None, draft, vocabulary) -> dict:
        """On all test clips, given the fine-tuned main's tokens."""
        engine, encoding_model = Engine(self.main, draft, vocabulary), self.main
        validator = self.validator
        if draft.config.is_encoder_decoder:
            encoding_model = draft
            validator = Validator(validator.clips, validator.log_mel, validator.tokenizer, self.config)
        ranks = []
        for start in range(0, len(self.tokens), 32):
            rows = list(range(start, min(start + 32, len(self.tokens))))
            ranks += engine.ranks(validator.states(encoding_model, rows), self.tokens[start : start + 32], self.options)
        shape = shape_of(draft, vocabulary)
        costs = self._costs(engine, shape)
        found = acceptance_section([each.matches for each in ranks], costs)
        best = max(found["by_draft_tokens"], key=lambda row: row["predicted_speedup"])
        return {
            "variant": variant.name,
            "question": variant.question,
            "seed": seed,
            "assistant": shape,
            "agreement": found["agreement"],
            "tau": {str(row["draft_tokens"]): row["mean_accepted_length"] for row in found["by_draft_tokens"]},
            "tree_tau": {str(len(tree)): tree_acceptance(ranks, tree).mean_accepted_length for tree in TREES},
            "h100": on_an_h100(ranks),
            "predicted_speedup": best["predicted_speedup"],
            "draft_tokens": best["draft_tokens"],
            "cost_ratio": costs.cost_ratio,
            "own_encoder": bool(draft.config.is_encoder_decoder),
        }

    def _costs(self, engine: Engine, shape: str) -> Costs:
        """Measured once for all assistants of a shape, and stored for later calls: all are compared by these."""
        if shape not in self.costs:
            self.costs[shape] = engine.costs(1)
            write_json(self.costs_file, {name: asdict(costs) for name, costs in self.costs.items()})
        return self.costs[shape]

    def _prepare_labels(self, config: Config, variant: Variant) -> None:
        """Links the labels and caches of an earlier run that would compute the same, or makes labels of other texts."""
        precision = resolved(config.distill.precision, device_type(), "distill.precision", trains=True)
        stage = labels_stage(config, checkpoint_folder(config.model), precision)
        if stage.folder.exists():
            return
        if variant.labels != "main":
            self._replace_labels(config, variant, stage.folder)
            return
        for folder in sorted(self.runs.glob("*/labels")):
            own = not (folder.parent / "other-labels").exists()
            if own and json.loads((folder / "inputs.json").read_text()) == stage.inputs:
                shutil.copytree(folder, stage.folder, copy_function=os.link)
                shutil.copyfile(folder.parent / "config.yaml", stage.folder.parent / "config.yaml")
                return

    def _replace_labels(self, config: Config, variant: Variant, target: Path) -> None:
        """The fine-tuned main's labels, with the tokens of the human text or of the stock main in their place."""
        donor = {"human": BASE, "stock": "from the stock main"}[variant.labels].replace(" ", "-")
        own = self.runs / f"{BASE.replace(' ', '-')}-{config.seed}" / "labels"
        other = self.runs / f"{donor}-{config.seed}" / "labels"
        for folder in (own, other):
            if not folder.is_dir():
                raise SystemExit(f"{variant.name}: {folder} is not there yet; run its variant first (see --only)")
        theirs = {row.window: row for row in read_labels(other)}
        tokenizer = self.processor.tokenizer
        rows: list[LabelRow] = []
        for row in read_labels(own):
            if variant.labels == "human" and row.human_text is not None:
                tokens = tokenizer(" " + row.human_text.strip(), add_special_tokens=False).input_ids
                rows.append(replace(row, tokens=[*tokens, tokenizer.eos_token_id], finished=True))
            elif variant.labels == "stock" and row.window in theirs:
                found = theirs[row.window]
                rows.append(replace(row, tokens=found.tokens, finished=found.finished))
        target.parent.mkdir(parents=True, exist_ok=True)
        (target.parent / "other-labels").touch()  # no other run may use these
        shutil.copytree(own, target, copy_function=os.link, ignore=shutil.ignore_patterns(LABELS_FILE, "teacher"))
        write_labels(target / LABELS_FILE, rows)
        shutil.copyfile(own.parent / "config.yaml", target.parent / "config.yaml")

    @cached_property
    def training_clips(self) -> list[Clip]:
        return load_training_clips(self.config.data.train, self.config.data, self.validator.log_mel.seconds).clips

    def cut(self, minutes: float) -> None:
        """A folder with the first clips of the training data, spread over it, until they last so long."""
        folder = self.runs / f"data-{minutes:g}-minutes"
        if (folder / "metadata.csv").is_file():
            return
        import csv

        clips = self.training_clips
        order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0)).tolist()
        total, chosen = 0.0, []
        for number in order:
            if total < 60 * minutes:
                chosen.append(number)
                total += clips[number].seconds
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for number in sorted(chosen):
            clip = clips[number]
            if not isinstance(clip.audio, Path) or clip.start:
                raise SystemExit("--minutes: takes whole clips of local folders only")
            name = f"{number:06d}{clip.audio.suffix}"
            shutil.copyfile(clip.audio, folder / name)
            rows.append({"file_name": name, "text": clip.text, "speaker": clip.speaker})
        with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["file_name", "text", "speaker"])
            writer.writeheader()
            writer.writerows(rows)


def on_an_h100(ranks: Sequence[TokenRanks]) -> dict[str, float]:
    """What the best chain and the best tree win there, chosen on the other half of the clips."""
    costs = h100_costs()
    chain, tree = (crossed(ranks, choose, costs) for choose in (best_chain(costs), best_of(costs, 32)))
    return {"chain": chain.speedup, "tree": tree.speedup, "chain_tau": chain.tau, "tree_tau": tree.tau}


def shape_of(draft, vocabulary) -> str:
    """What an assistant's speed depends on."""
    config = draft.config
    return f"{config.decoder_layers} layers of {config.d_model}, {'all' if vocabulary is None else 'some'} tokens"


def distilled(arguments: list[str]) -> int:
    """The exit status of the stage, in a process of its own."""
    command = [sys.executable, "-m", "whisper_pair.stages.distill", *arguments]
    return subprocess.run(command, stdout=subprocess.DEVNULL).returncode


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    parser.add_argument("--runs", type=Path, required=True, help="the folder that receives every run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="some variants by name")
    parser.add_argument("--foreign", nargs="+", default=[], metavar="CHECKPOINT", help="assistants made elsewhere")
    parser.add_argument("--minutes", type=float, nargs="+", default=[], help="sizes of smaller training data")
    parser.add_argument("--machine", help="a word for the machine, in the result's name")
    parser.add_argument("--out", type=Path, help="the result's file, elsewhere than benchmarks/results")
    args = parser.parse_intermixed_args(arguments)
    transformers.logging.set_verbosity_error()
    recipes = Recipes(args.config, args.overrides, args.runs)
    all_minutes = sum(clip.seconds for clip in recipes.training_clips) / 60 if args.minutes else 0.0
    wanted = variants(args.minutes, args.runs, recipes.config, all_minutes)
    unknown = set(args.only or ()) - {variant.name for variant in wanted}
    if unknown:
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: known are {', '.join(v.name for v in wanted)}")
    chosen = [variant for variant in wanted if args.only is None or variant.name in args.only]
    chosen.sort(key=lambda variant: variant.labels != "main")  # these borrow from the others
    for minutes in args.minutes:
        recipes.cut(minutes)

    out = result_file("recipes", args)
    rows = json.loads(out.read_text())["rows"] if out.is_file() else []
    done = {(row["variant"], row["seed"]) for row in rows}
    todo = [("foreign", name, None) for name in args.foreign if (Path(name).name, None) not in done]
    todo += [("run", v, seed) for seed in args.seeds for v in chosen if (v.name, seed) not in done]
    for number, (kind, what, seed) in enumerate(todo, 1):
        print(f"{number} of {len(todo)}: {what if kind == 'foreign' else what.name}", flush=True)
        rows.append(recipes.foreign(what) if kind == "foreign" else recipes.run(what, seed))
        write(out, rows, args, recipes)
        print(
            f"  agreement {rows[-1]['agreement']:.3f}, predicted speedup {rows[-1]['predicted_speedup']:.2f}",
            flush=True,
        )
    return json.loads(out.read_text())


def command(args: argparse.Namespace) -> str:
    """As others would type it, without the options that only choose the rows of one call."""
    options = {"runs": [args.runs], "machine": [args.machine], "foreign": args.foreign, "minutes": args.minutes}
    words = [args.config, *args.overrides]
    for name, values in options.items():
        given = [f"{value:g}" if isinstance(value, float) else str(value) for value in values if value is not None]
        words += [f"--{name}", *given] if given else []
    return f"python benchmarks/recipes.py {shlex.join(words)}"


def write(out: Path, rows: list[dict], args: argparse.Namespace, recipes: Recipes) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "command": command(args),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(torch.device("cpu")),
        "versions": versions(),
        "data": {"clips": len(recipes.tokens), "seconds": recipes.seconds, "tokens": sum(map(len, recipes.tokens))},
        "rows": rows,
        "targets": targets(rows),
    }
    write_json(out, result)


if __name__ == "__main__":
    main()
