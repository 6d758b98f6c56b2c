"""Stage 3: measures a pair on test clips and writes report.json and its readings."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

from whisper_pair.checkpoints import (
    DRAFT_VOCABULARY_FILE,
    PairManifest,
    check_pair,
    checkpoint_folder,
    draft_token_ids,
    load_draft,
    load_draft_trees,
    load_main,
    load_processor,
    main_folder,
    weight_digests,
)
from whisper_pair.config import Config
from whisper_pair.data import fingerprint
from whisper_pair.decoding import Engine, Options
from whisper_pair.errors import InputError
from whisper_pair.precision import DTYPES, resolved
from whisper_pair.report import (
    MainReport,
    Report,
    check,
    headline,
    main_headline,
    main_lines,
    read_main_report,
    read_report,
    summary,
    verdict_lines,
)
from whisper_pair.runs import (
    Stage,
    as_json,
    discard,
    file_digest,
    start_tracker,
    stop_on_signals,
    this_process,
    write_json,
)

from . import main_alone
from .common import DECODED, checked_main, chosen_clips, trained_windows, write_readings
from .evaluation import Evaluation
from .measuring import Assistant, Engines, decode_clips, write_best_draft_tokens
from .reading import check_enough_timings, pair_document
from .tracking import tracked_figures

logger = logging.getLogger("whisper_pair.eval")


def assistant_name(config: Config) -> str:
    """The judged assistant: the config's own, or the run's."""
    return config.eval.assistant or str(Path(config.output) / "assistant")


def stage_of(config: Config, main: Path, assistant: Path | None, precision: str) -> Stage:
    """The stage, with all that its results depend on. `assistant` None: a main alone."""
    inputs = {
        "main": _weights(main),
        "assistant": None if assistant is None else _weights(assistant),
        "compare": {name: _weights(checkpoint_folder(name)) for name in config.eval.compare},
        "language": config.language,
        "task": config.task,
        "eval": config.resolved()["eval"] | {"precision": precision},
        "test_data": fingerprint(config.data.test),
    }
    if assistant is not None and (trained := trained_windows(main)) is not None:
        inputs["short_windows"] = asdict(trained)
    return Stage(Path(config.output) / "eval", as_json(inputs))


def _weights(folder: Path) -> dict[str, str]:
    vocabulary = {file.name: file_digest(file) for file in folder.glob(DRAFT_VOCABULARY_FILE)}
    return weight_digests(folder) | vocabulary


def evaluate(config: Config, overwrite: bool = False, strict: bool = False) -> int:
    """Writes `eval/report.json`, its Markdown, HTML and plots, and the best draft length into the run's assistant.

    Returns the exit status: 1 where the pair's output is not the main's and no near tie explains it; with `strict`, 1
    where the verdict is not passed, and InputError where too little is timed for one.
    """
    if strict:
        check_enough_timings(config.eval)
    if config.eval.main_alone:
        return evaluate_main(config, overwrite, strict)
    main_at = main_folder(config)
    ours_at = checkpoint_folder(assistant_name(config))
    processes = this_process()
    precision = resolved(config.eval.precision, processes.device, "eval.precision")
    stage = stage_of(config, main_at, ours_at, precision)
    if stage.finished():
        stage.tidy()
        logger.info("%s: already evaluated with these inputs", stage.folder)
        return status(read_report(stage.folder / "report.json"), stage, strict) if processes.is_main_process else 0
    stage.refuse_other_inputs(overwrite)
    folders = {"ours": ours_at} | {name: checkpoint_folder(name) for name in config.eval.compare}
    manifests = {name: check_pair(main_at, folder) for name, folder in folders.items()}

    clips, available, log_mel = chosen_clips(config, load_processor(main_at))
    if strict:
        check_enough_timings(config.eval, len(clips))
    engines, start = loaded(config, main_at, folders, manifests, precision, str(processes.device))
    if processes.is_main_process:
        stage.begin(config)
        tracker = None if config.tracker == "none" else start_tracker(config, "eval", stage.work / DECODED)
    processes.wait_for_everyone()
    minutes = sum(clip.seconds for clip in clips) / 60
    counts = len(clips), minutes, processes.num_processes, processes.device.type
    logger.info("test: %d clips, %.1f minutes, on %d x %s", *counts)
    options = options_of(config)
    trained = trained_windows(main_at)
    margin = None if trained is None else trained.margin
    decoded = decode_clips(engines, start, clips, log_mel, options, stage.work / DECODED, processes, margin)
    del start
    engines.release(but_the_judged=True)  # what is timed next is made when its turn comes
    if not processes.is_main_process:
        return 0  # leaves the machine to the first process, which does the timing
    evaluation = Evaluation(config, main_at, assistant_name(config), engines, clips, log_mel, options, decoded)
    with stop_on_signals(lambda: f"all {len(clips)} test clips are decoded and kept, and what was timed is not"):
        report = evaluation.report(available)
    write(evaluation, report, stage.work)
    if tracker is not None:
        tracker.log(tracked_figures(report), step=0)
        tracker.finish()
    if config.eval.assistant is None:  # before the end: a finished evaluation does not come here again
        write_best_draft_tokens(ours_at, report)
    stage.finish()
    discard(stage.folder / DECODED)
    return status(report, stage, strict)


def evaluate_main(config: Config, overwrite: bool, strict: bool) -> int:
    """The same for a main alone. Raises InputError for `strict`: there is no verdict on one."""
    if strict:
        raise InputError("--strict: a main alone gets no verdict; name an assistant, or leave --strict out.")
    precision = resolved(config.eval.precision, this_process().device, "eval.precision")
    stage = stage_of(config, main_folder(config), None, precision)
    if stage.finished():
        stage.tidy()
        logger.info("%s: already evaluated with these inputs", stage.folder)
        report: MainReport | None = read_main_report(stage.folder / "report.json")
    else:
        stage.refuse_other_inputs(overwrite)
        report = main_alone.measure(config, stage, precision, options_of(config))
    if report is not None:
        show(main_headline(report), main_lines(report), stage.folder)
    return 0


def show(sentence: str, lines: list[tuple[str, str]], folder: Path) -> None:
    """A report's summary, and where it lies."""
    for line in (*summary(sentence, lines).splitlines(), f"report: {folder}/report.html"):
        logger.info("%s", line)


def loaded(
    config: Config,
    main_at: Path,
    folders: dict[str, Path],
    manifests: dict[str, PairManifest | None],
    precision: str,
    device: str,
) -> tuple[Engines, Engine | None]:
    """The pairs' engines, and one of the checkpoint before fine-tuning where there was any. Raises InputError for a
    language or task that the main does not know."""
    dtype, main = DTYPES[precision], checked_main(config, main_at, precision, device)
    assistants = [
        Assistant(
            name,
            folder,
            load_draft(folder, dtype, device),
            manifests[name],
            draft_token_ids(folder),
            load_draft_trees(folder),
        )
        for name, folder in folders.items()
    ]
    if assistants[0].vocabulary is not None:  # what the smaller head gains and loses
        assistants.insert(1, replace(assistants[0], name="ours, all tokens", vocabulary=None))
    start = None
    if config.train is not None:
        start = Engine(load_main(checkpoint_folder(config.model, config.revision), dtype, device))
    return Engines(main, assistants), start


def options_of(config: Config) -> Options:
    """How every contender decodes: plain greedy, which each then changes to its own ways."""
    return Options(language=config.language, task=config.task, batch_size=8, draft_tokens=0)


def write(evaluation: Evaluation, report: Report, folder: Path) -> None:
    """report.json and everything that is made of it."""
    check(report)
    write_json(folder / "report.json", report)
    evaluation.write_utterances(folder / "utterances.parquet")
    write_readings(pair_document(report), evaluation.clips, folder)


def status(report: Report, stage: Stage, strict: bool) -> int:
    """Shows the report's summary and where it lies. The exit status, with a sentence where it is not 0."""
    show(headline(report), verdict_lines(report), stage.folder)
    short = report["short_windows"]["short"]["unexplained"] if "short_windows" in report else 0
    if report["identity"]["unexplained"] or report["quality"]["long_form"].get("unexplained") or short:
        where = "identity, long form and short windows" if short else "identity and long form"
        logger.error("the pair's output is not the main's: see %s in %s/report.md", where, stage.folder)
        return 1
    if strict and not report["verdict"]["passed"]:
        missed = ", ".join(c["name"] for c in report["verdict"]["criteria"] if not c["passed"])
        logger.error("the verdict is not passed (%s): see %s/report.md", missed, stage.folder)
        return 1
    return 0
