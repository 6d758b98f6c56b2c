"""Which way of distilling gives the fastest pair: variants of one config, each trained and scored with the same main.

    whisper-pair run configs/real-dutch-base.yaml          # the fine-tuned main that all are scored with
    python benchmarks/recipes.py configs/real-dutch-base.yaml --runs outputs/recipes --seeds 0 1 2 \
        --foreign whisper-tiny --minutes 10 20 40 --machine cpu
    python benchmarks/pair.py tables                       # the table in docs/choices.md

A variant is a list of overrides. Every run is scored on the config's test clips by the fine-tuned main's own tokens:
agreement, tokens won a round, and the speedup that the measured costs predict. A row is written when its run ends, and
what has its row is not run again. Labels and caches are shared by all runs that would compute the same.

Matched or not: "as configured" is distilled from the fine-tuned main itself; "from the stock main" from the checkpoint
before fine-tuning, in the same way, and drafts with that checkpoint's encoder; a foreign assistant is what one finds.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pyarrow.parquet
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.results import RESULTS, machine
from distill.distil import labels_stage
from distill.labelling import FILE, label_options
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
)
from whisper_pair.config import Config, load_config
from whisper_pair.data import Clip, load_test_clips, load_training_clips
from whisper_pair.decoding import Costs, Engine
from whisper_pair.precision import resolved
from whisper_pair.runs import device_type, file_digest, write_json
from whisper_pair.training import Validator

BASE = "as configured"
LOSSES = {
    "cross-entropy alone": {"kl": 0},
    "KL alone": {"cross_entropy": 0},
    "KL at temperature 1": {"temperature": 1},
    "KL at temperature 2": {"temperature": 2},
    "reverse KL": {"kl": 0, "reverse_kl": 1},
    "Jensen-Shannon": {"kl": 0, "jensen_shannon": 1},
    "total variation": {"kl": 0, "total_variation": 1},
    "-log acceptance": {"kl": 0, "log_acceptance": 1},
    "-log acceptance alone": {"kl": 0, "cross_entropy": 0, "log_acceptance": 1},
    "LK": {"kl": 0, "lk": 1},
    "LK alone": {"kl": 0, "cross_entropy": 0, "lk": 1},
    "weights fading since the last mismatch": {"mismatch_decay": 0.9},
}
TEACHERS = {"whole distribution": "all", "128 likeliest tokens": 128, "32 likeliest tokens": 32}
LABELS = {"human text": "human", "labels of the stock main": "stock"}


@dataclass(frozen=True)
class Variant:
    name: str
    question: str  # what it is compared for
    overrides: tuple[str, ...] = ()
    labels: str = "main"  # "main": the fine-tuned main's; "human"; "stock"
    main: str = "main"  # what it is distilled from: "main", the fine-tuned one, or "stock"


def variants(minutes: list[float], runs: Path, config: Config, all_minutes: float) -> list[Variant]:
    """Each trains on as many windows as the config asks for, so that no variant just trains longer than another."""
    copies, epochs = config.distill.perturb.copies, config.distill.epochs
    found = [Variant(BASE, "all")]
    for name, weights in LOSSES.items():
        found.append(Variant(name, "loss", tuple(f"distill.losses.{key}={value}" for key, value in weights.items())))
    found += [Variant(name, "labels", labels=labels) for name, labels in LABELS.items()]
    found += [Variant(f"{n} layer{'s' * (n > 1)}", "layers", (f"distill.layers={n}",)) for n in (1, 2, 3)]
    others = (1, 2) if copies == 0 else (0,)
    for count in others:
        name = f"{count or 'no'} perturbed cop{'y' if count == 1 else 'ies'}"
        fewer = f"distill.epochs={epochs * (1 + copies) / (1 + count):.3g}"
        found.append(Variant(name, "copies", (f"distill.perturb.copies={count}", fewer)))
    for name, tokens in TEACHERS.items():
        if tokens != config.distill.teacher_tokens:
            found.append(Variant(name, "teacher", (f"distill.teacher_tokens={tokens}",)))
    found.append(Variant("not packed", "packing", ("data.pack=false",)))
    found.append(Variant("labels of more than 50 % error dropped", "filter", ("distill.max_label_error=0.5",)))
    found.append(Variant("embeddings trained", "embeddings", ("distill.train_embeddings=true",)))
    found.append(Variant("from the stock main", "matched or not", main="stock"))
    for count in minutes:
        folder = runs / f"data-{count:g}-minutes"
        given = f"data.train=[{{folder: {json.dumps(str(folder))}, text: text, speaker: speaker}}]"
        more = f"distill.epochs={epochs * max(1.0, all_minutes / count):.3g}"
        found.append(Variant(f"{count:g} minutes", "data", (given, more)))
    return found


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
        self.listener = Validator(clips, log_mel, self.processor.tokenizer, self.config, runs / "heard")
        self.options = label_options(self.config)
        self.tokens = self._spoken()
        self.yardsticks = runs / "costs.json"
        told = json.loads(self.yardsticks.read_text()) if self.yardsticks.is_file() else {}
        self.costs = {shape: Costs.of_json(costs) for shape, costs in told.items()}

    def _spoken(self) -> list[list[int]]:
        """The fine-tuned main's tokens of the test clips, decoded once."""
        file = self.runs / "spoken.json"
        of = {path.name: file_digest(path) for path in sorted(self.main_at.glob("*.safetensors"))}
        of["clips"] = [clip.name for clip in self.listener.clips]
        if file.is_file() and (kept := json.loads(file.read_text()))["of"] == of:
            return kept["tokens"]
        shutil.rmtree(self.runs / "heard", ignore_errors=True)  # another main's encoder states
        tokens = [d.tokens for d in self.listener.transcribe(self.main, list(range(len(self.listener.clips))))]
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
            raise SystemExit(f"{variant.name}: distillation failed; what it said stands above.")
        draft = load_draft(output / "assistant", torch.float32)
        if variant.main == "stock":  # its decoder learnt over the stock encoder, so it brings that one along
            draft = standalone_assistant(load_main(self.stock_at, torch.float32), draft)
        return self.score(variant, seed, draft, draft_token_ids(output / "assistant"))

    def foreign(self, name: str) -> dict:
        at = checkpoint_folder(name)
        draft = load_draft(at, torch.float32)
        return self.score(Variant(Path(name).name, "matched or not"), None, draft, draft_token_ids(at))

    def score(self, variant: Variant, seed: int | None, draft, vocabulary) -> dict:
        """On all test clips, given the fine-tuned main's tokens."""
        engine, hears = Engine(self.main, draft, vocabulary), self.main
        listener = self.listener
        if draft.config.is_encoder_decoder:
            hears, listener = draft, Validator(listener.clips, listener.log_mel, listener.tokenizer, self.config)
        matches = []
        for start in range(0, len(self.tokens), 32):
            rows = list(range(start, min(start + 32, len(self.tokens))))
            matches += engine.agreement(listener.states(hears, rows), self.tokens[start : start + 32], self.options)
        shape = shape_of(draft, vocabulary)
        costs = self._costs(engine, shape)
        found = acceptance_section(matches, costs)
        best = max(found["by_draft_tokens"], key=lambda row: row["predicted_speedup"])
        return {
            "variant": variant.name,
            "question": variant.question,
            "seed": seed,
            "assistant": shape,
            "agreement": found["agreement"],
            "tau": {str(row["draft_tokens"]): row["mean_accepted_length"] for row in found["by_draft_tokens"]},
            "predicted_speedup": best["predicted_speedup"],
            "draft_tokens": best["draft_tokens"],
            "cost_ratio": costs.cost_ratio,
            "own_encoder": bool(draft.config.is_encoder_decoder),
        }

    def _costs(self, engine: Engine, shape: str) -> Costs:
        """Measured once for all assistants of a shape, by all calls: one yardstick."""
        if shape not in self.costs:
            self.costs[shape] = engine.costs(1)
            write_json(self.yardsticks, {name: asdict(costs) for name, costs in self.costs.items()})
        return self.costs[shape]

    def _prepare_labels(self, config: Config, variant: Variant) -> None:
        """Links the labels and caches of an earlier run that would compute the same, or makes those of other texts."""
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
        rows = pyarrow.parquet.read_table(own / FILE).to_pylist()
        theirs = {row["window"]: row for row in pyarrow.parquet.read_table(other / FILE).to_pylist()}
        tokenizer = self.processor.tokenizer
        kept = []
        for row in rows:
            if variant.labels == "human" and row["human_text"] is not None:
                said = tokenizer(" " + row["human_text"].strip(), add_special_tokens=False).input_ids
                kept.append(row | {"tokens": [*said, tokenizer.eos_token_id], "finished": True})
            elif variant.labels == "stock" and row["window"] in theirs:
                found = theirs[row["window"]]
                kept.append(row | {"tokens": found["tokens"], "finished": found["finished"]})
        target.parent.mkdir(parents=True, exist_ok=True)
        (target.parent / "other-labels").touch()  # nobody borrows these
        shutil.copytree(own, target, copy_function=os.link, ignore=shutil.ignore_patterns(FILE, "teacher"))
        schema = pyarrow.parquet.read_schema(own / FILE)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(kept, schema), target / FILE)
        shutil.copyfile(own.parent / "config.yaml", target.parent / "config.yaml")

    @cached_property
    def training_clips(self) -> list[Clip]:
        return load_training_clips(self.config.data.train, self.config.data, self.listener.log_mel.seconds).clips

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


def shape_of(draft, vocabulary) -> str:
    """What an assistant's speed hangs on."""
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

    out = args.out or RESULTS / f"recipes{'-' + args.machine if args.machine else ''}.json"
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
    """As it reads elsewhere, and without what only chose the rows of one call among many."""
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
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "data": {"clips": len(recipes.tokens), "seconds": recipes.seconds, "tokens": sum(map(len, recipes.tokens))},
        "rows": rows,
        "targets": targets(rows),
    }
    write_json(out, result)


def table(result: dict) -> str:
    """Agreement and predicted speedup of each variant, means over seeds, by what it is compared for."""
    by_name = named(result["rows"])
    questions = list(dict.fromkeys(rows[0]["question"] for rows in by_name.values()))
    lines = ["| compared for | variant | agreement | over the first row | predicted speedup | runs |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for question in sorted(questions, key=lambda question: question != "all"):
        for name, rows in by_name.items():
            if rows[0]["question"] == question:
                over = gain(rows, by_name[BASE])
                figures = f"{mean(rows, 'agreement'):.3f} | {over:+.3f} | {mean(rows, 'predicted_speedup'):.2f}x"
                lines.append(f"| {question} | {name} | {figures} | {len(rows)} |")
    machine, data = result["machine"], result["data"]
    told = (
        f"`{result['command']}` on {machine.get('gpu', machine['cpu'])}, torch {result['versions']['torch']}, "
        f"{result['date']}: scored on {data['clips']} test clips, {data['tokens']} tokens of the fine-tuned main."
    )
    return "\n".join(lines) + f"\n\n{told}\n"


def named(rows: list[dict]) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["variant"], []).append(row)
    return found


def mean(rows: list[dict], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


def gain(rows: list[dict], base: list[dict]) -> float:
    """In agreement, over the runs of the base with the same seeds; what has no seed, over all of them."""
    same = {row["seed"]: row["agreement"] for row in base}
    otherwise = mean(base, "agreement")
    return sum(row["agreement"] - same.get(row["seed"], otherwise) for row in rows) / len(rows)


def targets(rows: list[dict]) -> dict[str, dict]:
    """Of the means over seeds, as far as the rows tell."""
    by_name, found = named(rows), {}
    if BASE in by_name:
        base = by_name[BASE]
        found["agreement with the fine-tuned main"] = (0.75, mean(base, "agreement"))
        for name, others in by_name.items():
            if others[0]["seed"] is None:
                found[f"agreement above that of {name}"] = (0.15, -gain(others, base))
            elif name in ("human text", "from the stock main"):
                found[f"agreement above that of {name}"] = (0.0, -gain(others, base))
    return {
        name: {"target": target, "reached": reached, "higher_is_better": True}
        for name, (target, reached) in sorted(found.items())
    }


if __name__ == "__main__":
    main()
