"""Measures a pair on test clips: acceptance, quality, identity, cost and speed -> report.json and its readings."""

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from whisper_pair import Pair
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import (
    DRAFT_VOCABULARY_FILE,
    check_pair,
    checkpoint_folder,
    draft_token_ids,
    encoder_sha256,
    load_draft,
    load_main,
    load_processor,
    main_folder,
)
from whisper_pair.config import Config
from whisper_pair.data import Clip, fingerprint, load_test_clips, long_test_clips
from whisper_pair.decoding import Engine, Options, SpecialTokens, accepted_per_round
from whisper_pair.precision import DTYPES, precision_of, resolved
from whisper_pair.runs import (
    Stage,
    as_json,
    discard,
    file_digest,
    provenance,
    stop_on_signals,
    this_process,
    write_json,
    write_table,
    write_text,
)
from whisper_pair.text import Normalizer

from .measuring import (
    DRAFTS,
    Assistant,
    Engines,
    Pieces,
    Said,
    Transcribed,
    Witness,
    acceptance_section,
    contenders_of,
    cost_section,
    ctranslate,
    identity_section,
    leak_section,
    least_accepted,
    listen,
    long_form_section,
    memory_section,
    own_parameters,
    prediction_section,
    quality_section,
    rates_of,
    recordings,
    speed_section,
    spread_out,
    steady_costs,
    texts_equal,
    timed_clips,
    transcripts,
    where_section,
    write_best_setting,
)
from .reading import (
    VERSION,
    check,
    check_enough_timings,
    draw,
    markdown,
    page,
    telling,
    timeline_section,
    verdict_section,
)

logger = logging.getLogger("whisper_pair.eval")

HEARD = "heard"  # in the stage's work folder


def assistant_name(config: Config) -> str:
    return config.eval.assistant or str(Path(config.output) / "assistant")


def stage_of(config: Config, main: Path, assistant: Path, precision: str) -> Stage:
    inputs = {
        "main": _weights(main),
        "assistant": _weights(assistant),
        "compare": {name: _weights(checkpoint_folder(name)) for name in config.eval.compare},
        "language": config.language,
        "task": config.task,
        "eval": config.resolved()["eval"] | {"precision": precision},
        "test_data": fingerprint(config.data.test),
    }
    return Stage(Path(config.output) / "eval", as_json(inputs))


def _weights(folder: Path) -> dict[str, str]:
    files = [*sorted(folder.glob("*.safetensors")), *folder.glob(DRAFT_VOCABULARY_FILE)]
    return {file.name: file_digest(file) for file in files}


def evaluate(config: Config, overwrite: bool = False, strict: bool = False) -> int:
    """Writes `eval/report.json`, its Markdown, HTML and plots, and the best draft length into the run's assistant.

    Returns the exit status: 1 where the pair says what its main would not have said, and no near tie explains it; with
    `strict`, 1 where the verdict is not passed, and InputError where too little is timed for one.
    """
    if strict:
        check_enough_timings(config.eval)
    main_at = main_folder(config)
    ours_at = checkpoint_folder(assistant_name(config))
    processes = this_process()
    precision = resolved(config.eval.precision, processes.device, "eval.precision")
    stage = stage_of(config, main_at, ours_at, precision)
    if stage.finished():
        stage.tidy()
        logger.info("%s: already evaluated with these inputs", stage.folder)
        if not processes.is_main_process:
            return 0
        return status(json.loads((stage.folder / "report.json").read_text(encoding="utf-8")), stage, strict)
    stage.refuse_other_inputs(overwrite)
    folders = {"ours": ours_at} | {name: checkpoint_folder(name) for name in config.eval.compare}
    lineages = {name: check_pair(main_at, folder) for name, folder in folders.items()}

    log_mel = LogMel(load_processor(main_at).feature_extractor)
    available = load_test_clips(config.data.test, config.data, log_mel.seconds, "test")
    clips = [available[row] for row in spread_out(len(available), config.eval.limit)]
    if strict:
        check_enough_timings(config.eval, len(clips))
    device, dtype = processes.device, DTYPES[precision]
    main = load_main(main_at, dtype, device)
    special = SpecialTokens.of(main)
    special.check_task(config.task)
    special.language_token(config.language)
    assistants = [
        Assistant(name, folder, load_draft(folder, dtype, device), lineages[name], draft_token_ids(folder))
        for name, folder in folders.items()
    ]
    if assistants[0].vocabulary is not None:  # what the smaller head gains and loses
        assistants.insert(1, replace(assistants[0], name="ours, all tokens", vocabulary=None))
    start, engines = None, Engines(main, assistants)
    if config.train is not None:
        start = Engine(load_main(checkpoint_folder(config.model, config.revision), dtype, device))

    if processes.is_main_process:
        stage.begin(config)
    processes.wait_for_everyone()
    minutes = sum(clip.seconds for clip in clips) / 60
    counts = len(clips), minutes, processes.num_processes, device.type
    logger.info("test: %d clips, %.1f minutes, on %d x %s", *counts)
    options = options_of(config)
    heard = listen(engines, start, clips, log_mel, options, stage.work / HEARD, processes)
    del start
    engines.release(but_the_judged=True)  # what is timed next is made when its turn comes
    if not processes.is_main_process:
        return 0  # leaves the machine to the first process, which times
    evaluation = Evaluation(config, main_at, engines, clips, log_mel, options, heard)
    with stop_on_signals(lambda: f"all {len(clips)} test clips are decoded and kept, and what was timed is not"):
        report = evaluation.report(len(available))
    check(report)
    write_json(stage.work / "report.json", report)
    evaluation.write_utterances(stage.work / "utterances.parquet")
    write_text(stage.work / "report.md", markdown(report))
    draw(report, stage.work / "plots")
    write_text(stage.work / "report.html", page(report, clips))
    if config.eval.assistant is None:  # before the end: a finished evaluation is not asked again
        write_best_setting(ours_at, report)
    stage.finish()
    discard(stage.folder / HEARD)
    logger.info("%s: report.json, report.md, report.html, utterances.parquet, plots/", stage.folder)
    return status(report, stage, strict)


def options_of(config: Config) -> Options:
    """How every contender decodes: plain greedy, which each then changes to its own ways."""
    return Options(language=config.language, task=config.task, batch_size=8, draft_tokens=0)


def status(report: dict[str, Any], stage: Stage, strict: bool) -> int:
    if report["identity"]["unexplained"] or report["quality"]["long_form"].get("unexplained"):
        logger.error("the pair's output is not the main's: see identity and long form in %s/report.md", stage.folder)
        return 1
    if strict and not report["verdict"]["passed"]:
        missed = ", ".join(c["name"] for c in report["verdict"]["criteria"] if not c["passed"])
        logger.error("the verdict is not passed (%s): see %s/report.md", missed, stage.folder)
        return 1
    return 0


class Evaluation:
    """One pair's evaluation: what was heard, and the report's sections from it."""

    def __init__(
        self,
        config: Config,
        main_at: Path,
        engines: Engines,
        clips: list[Clip],
        log_mel: LogMel,
        options: Options,
        heard: Transcribed,
    ):
        self.config, self.main_at, self.clips, self.log_mel = config, main_at, clips, log_mel
        self.engines, self.options, self.heard = engines, options, heard
        self.main, self.assistants = engines.main, engines.assistants
        self.special = SpecialTokens.of(self.main)
        self.processor = load_processor(main_at)
        self.tokenizer = self.processor.tokenizer
        self.pieces = Pieces(self.tokenizer)
        self.normalizer = Normalizer.of(config.text_language, self.tokenizer)
        self.texts = transcripts(self.heard, self.tokenizer)
        self.rates = rates_of(self.texts, [clip.text for clip in clips], config.text_language, self.normalizer)

    @property
    def judged(self) -> Assistant:
        return self.assistants[0]

    @property
    def ours(self) -> Said:
        return self.heard.by["ours"]

    def report(self, available: int) -> dict[str, Any]:
        """`available`: the test set's clips before eval.limit."""
        config, settings = self.config, self.config.eval
        sizes = sorted({1, *settings.batch_sizes})
        engines = self.engines
        costs = steady_costs(engines.judged, sizes)
        alone = {a.name: steady_costs(engines.pair(a), [1])[1] for a in self.assistants[1:]}
        alone = {"ours": costs[1]} | alone
        for assistant in self.assistants[1:]:
            for size in sizes:  # what "auto" goes by is measured before anything is timed
                engines.pair(assistant).measure_rounds(replace(self.options, batch_size=size, draft_tokens="auto"))
        prompts = [decoded.prompt for decoded in self.ours.pair]
        witness = Witness(self.main, self.log_mel, self.clips, prompts, self.pieces)
        timed = timed_clips(
            self.clips, settings.timed_clips, self.main, self.log_mel, self.heard.main, self.ours.matches
        )
        contenders = contenders_of(engines, self.options, settings.draft_tokens)
        theirs, left_out = ctranslate.contenders(self.main, self.main_at, self.options)
        contenders += theirs
        speed = speed_section(engines, contenders, timed, settings, witness, costs, self.log_mel, left_out)
        del contenders, theirs
        engines.release(but_the_judged=True)
        acceptance = acceptance_section(self.ours.matches, alone["ours"])
        shown = telling(self.ours.pair, self.clips)
        report = {
            "version": VERSION,
            "pair": self.pair_section(),
            "data": self.data_section(available),
            "acceptance": acceptance | self.where() | {"counters": self.counters()},
            "compared": {
                a.name: acceptance_section(self.heard.by[a.name].matches, alone[a.name]) for a in self.assistants[1:]
            },
            "quality": quality_section(self.rates, config.text_language)
            | {"texts_equal": texts_equal(self.texts["main"], self.texts["pair"]), "long_form": self.long_form()},
            "identity": identity_section(self.heard.main, self.ours, witness, engines.judged, self.options),
            "cost": {name: cost_section(found) for name, found in alone.items()},
            "prediction": prediction_section(costs, acceptance, speed),
            "speed": speed,
            "training": training_history(self.judged),
            "published": None if settings.published is None else asdict(settings.published),
            "timeline": timeline_section(engines.judged, self.clips[shown], self.log_mel, self.options, self.pieces),
            "utterances": self.utterances(),
            "environment": provenance(config, str(self.main.device))
            | {"dtype": precision_of(self.main.dtype), "attention": self.main.config._attn_implementation},
        }
        at_once = min(8, max(settings.batch_sizes))
        report["memory"] = memory_section(engines, timed.features, self.options, at_once)  # releases all engines
        report["verdict"] = verdict_section(report, settings.require)
        return as_json(report)

    def pair_section(self) -> dict[str, Any]:
        config, judged = self.config, self.judged

        def millions(parameters) -> float:
            return round(sum(p.numel() for p in parameters) / 1e6, 3)

        return {
            "main": str(config.model if config.train is None else Path(config.output) / "main"),
            "start": config.model,
            "assistant": assistant_name(config),
            "layers": list(judged.lineage.layers) if judged.lineage else None,
            "draft_vocabulary": None if judged.vocabulary is None else len(judged.vocabulary),
            "main_layers": self.main.config.decoder_layers,
            "main_parameters_millions": millions(self.main.parameters()),
            "assistant_own_parameters_millions": millions(own_parameters(self.main, judged.model)),
            "encoder_sha256": encoder_sha256(self.main_at),
        }

    def data_section(self, available: int) -> dict[str, Any]:
        config = self.config
        return {
            "sources": [source.name for source in config.data.test],
            "clips": len(self.clips),
            "available": available,
            "seconds": sum(clip.seconds for clip in self.clips),
            "language": config.language,
            "task": config.task,
            "leaks": leak_section(self.clips, config.data, self.log_mel.seconds),
        }

    def where(self) -> dict[str, Any]:
        """Where tokens are accepted and where not."""
        ours, tokens, names = self.ours, self.heard.main, [clip.name for clip in self.clips]
        section = where_section(ours.matches, tokens, self.pieces, self.special)
        return section | {"least_accepted": least_accepted(ours.matches, tokens, ours.choices, names, self.pieces)}

    def long_form(self) -> dict[str, Any]:
        """Recordings of several windows."""
        config, judged, seconds = self.config, self.judged, self.log_mel.seconds
        long = long_test_clips(config.data.test, config.data, seconds)
        chosen = recordings(config, self.clips, long, seconds, bool(self.special.timestamps))
        pair = Pair(self.main, judged.model, self.processor, judged.lineage, engine=self.engines.judged)
        apart = {clip.name: rate for clip, rate in zip(self.clips, self.rates["main"], strict=True)}
        asked = replace(self.options, draft_tokens=DRAFTS)
        return long_form_section(pair, chosen, apart, asked, config.text_language, self.normalizer)

    def counters(self) -> dict[str, int]:
        """The engine's own counters against the offline account, round by round."""
        rounds = [list(zip(d.drafted_per_round, d.accepted_per_round, strict=True)) for d in self.ours.pair]
        offline = [accepted_per_round(match, DRAFTS) for match in self.ours.matches]
        equal = sum(its == expected for its, expected in zip(rounds, offline, strict=True))
        return {"utterances": len(self.clips), "draft_tokens": DRAFTS, "equal": equal}

    def utterances(self) -> list[dict[str, Any]]:
        rows = []
        for i, clip in enumerate(self.clips):
            decoded, match = self.ours.pair[i], self.ours.matches[i]
            said = {
                name: {"errors": self.rates[name][i].errors, "text": self.texts[name][i].strip()}
                for name in ("main", "assistant", "pair")
            }
            rows.append(
                {
                    "clip": clip.name,
                    "seconds": clip.seconds,
                    "reference": clip.text,
                    "length": self.rates["main"][i].length,
                    "tokens": len(match.agrees),
                    "agreed": sum(match.agrees),
                    "rounds": decoded.rounds,
                    "drafted": decoded.drafted,
                    "accepted": decoded.accepted,
                    "identical": decoded.tokens == self.heard.main[i],
                    **said,
                }
            )
        return rows

    def write_utterances(self, path: Path) -> None:
        """One row a test clip: what was said, what each said, and how its drafts fared, token by token."""
        import pyarrow as pa

        rows, ours = self.utterances(), self.ours
        plain = ("clip", "seconds", "reference", "rounds", "drafted", "accepted", "identical")
        table = pa.table(
            {name: [row[name] for row in rows] for name in plain}
            | self.texts
            | {
                "tokens": self.heard.main,
                "agrees": [list(match.agrees) for match in ours.matches],
                "assistant_tokens": ours.choices,
                "drafted_per_round": [list(decoded.drafted_per_round) for decoded in ours.pair],
                "accepted_per_round": [list(decoded.accepted_per_round) for decoded in ours.pair],
            }
        )
        write_table(path, table)


def training_history(assistant: Assistant) -> list[dict[str, Any]]:
    """The assistant's validations, where our distillation made it."""
    file = assistant.folder / "history.json"
    return json.loads(file.read_text(encoding="utf-8"))["history"] if file.is_file() else []
