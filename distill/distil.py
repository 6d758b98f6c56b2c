"""Distils the assistant: the main's labels -> training -> `assistant/`, a stock decoder with its pair.json."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from whisper_pair.checkpoints import (
    Capabilities,
    PairManifest,
    checkpoint_folder,
    encoder_sha256,
    load_draft,
    load_main,
    main_folder,
    origin,
    save_draft_trees,
    save_model,
    save_processor,
    vocabulary_sha256,
    weight_digests,
)
from whisper_pair.config import Config
from whisper_pair.data import Clip, Window, fingerprint, padding_saved, windowing_settings
from whisper_pair.errors import InputError
from whisper_pair.precision import (
    DTYPES,
    refuse_other_type,
    resolved,
    saved_dtype,
    stored_dtype,
    warn_of_other_type,
)
from whisper_pair.runs import (
    Estimate,
    Stage,
    as_json,
    device_type,
    file_digest,
    memory_parts,
    peak_memory,
    provenance,
    require_disk,
    training_bytes,
    write_json,
    write_text,
)
from whisper_pair.training import (
    Batch,
    EqualSteps,
    Plan,
    Trainable,
    Validator,
    begin_stage,
    capabilities_of,
    deciding_settings,
    fit,
    gathered_model,
    make_accelerator,
    probe,
)

from .distillation_data import DistillationData, prepare_distillation_data
from .inputs import DistillationInputs
from .student import DistillationLoss, build_student, check_start, chosen_layers
from .teacher import digest_of
from .validation import DraftValidator, HeldOutTranscripts, JoinedClips, joined

logger = logging.getLogger("whisper_pair.distill")


def labels_stage(config: Config, main: Path, precision: str) -> Stage:
    """The labelling, identified by all that decides the labels; `precision`: of the main, with `auto` resolved."""
    rules = {file.name: file_digest(file) for file in main.glob("generation_config.json")}  # of decoding
    inputs = {
        "main": weight_digests(main) | rules,
        "language": config.language,
        "task": config.task,
        "seed": config.seed,
        "data": windowing_settings(config.data),
        "train_data": fingerprint(config.data.train),
        "perturb": config.resolved()["distill"]["perturb"],
        "precision": precision,
    }
    trained_as = Capabilities.load(main)
    if trained_as is not None and trained_as.short_windows is not None:
        inputs["short_windows"] = asdict(trained_as.short_windows)
    return Stage(Path(config.output) / "labels", as_json(inputs))


def assistant_stage(config: Config, labels: Stage, start: Path | None) -> Stage:
    """The distillation, identified by all that decides its outcome; `start`: the checkpoint of distill.start."""
    inputs = {
        "labels": labels.inputs,
        "start": None if start is None else weight_digests(start),
        "distill": deciding_settings(config.resolved()["distill"]) | {"precision": labels.inputs["precision"]},
        "weights": [source.weight for source in config.data.train],
        "validation_data": fingerprint(config.data.validation),
    }
    return Stage(Path(config.output) / "assistant", as_json(inputs))


def distil(config: Config, overwrite: bool = False, dry_run: bool = False) -> Path:
    """Returns the folder of the finished assistant, at once if it is there. `dry_run`: only prints what it would take.

    Raises InputError for what cannot be used, before anything is computed.
    """
    settings = config.distill
    folder = main_folder(config)
    precision = resolved(settings.precision, device_type(), "distill.precision", trains=True)
    labels, saved_as = labels_stage(config, folder, precision), saved_dtype(settings.save_dtype, folder)
    start = None if settings.start is None else checkpoint_folder(settings.start)
    stage = assistant_stage(config, labels, start)
    if stage.finished():
        refuse_other_type(stage.folder, settings.save_dtype, "distill.save_dtype")
        stage.tidy()
        logger.info("%s: already distilled from these inputs", stage.folder)
        return stage.folder
    stage.refuse_other_inputs(overwrite)
    labels.refuse_other_inputs(overwrite)

    given = DistillationInputs.read(config, folder, DTYPES[precision])
    main = given.main
    layers = chosen_layers(settings.layers, main.config.decoder_layers)
    if start is not None:
        check_start(start, folder, layers)
    if settings.teacher_tokens != "all" and settings.teacher_tokens > main.config.vocab_size:
        raise InputError(
            f"distill.teacher_tokens: the main has {main.config.vocab_size} tokens, not {settings.teacher_tokens}."
        )

    accelerator = make_accelerator(config, settings, "distill")
    if accelerator.is_main_process and not labels.finished():
        labels.begin(config)
    begin_stage(accelerator, stage, config)
    logger.info(given.corpus.report("training"))
    packed = [window for window in given.windows if window.perturbation is None]
    logger.info(padding_saved(packed, given.log_mel.seconds))
    main.to(accelerator.device)
    data = prepare_distillation_data(given, labels, stage, accelerator, dry_run)
    labelled = [example.window for example in data.batches.examples]
    plan = plan_of(given, labelled, accelerator.num_processes)

    torch.manual_seed(config.seed)
    first = None if start is None else load_draft(start, torch.float32)
    stored = stored_dtype(folder)
    exact = main if main.dtype in (stored, torch.float32) else load_main(folder, stored)  # not as rounded to run
    student = build_student(exact, layers, first, settings.train_embeddings).to(accelerator.device)
    del exact
    module = DistillationLoss(student, settings)
    if settings.gradient_checkpointing:
        student.gradient_checkpointing_enable({"use_reentrant": False})
    validator = draft_validator(given, data, accelerator, labels.folder, stage.work)

    def prepare(batch: Batch) -> dict[str, Any]:
        inputs, labels = batch.inputs.to(accelerator.device), batch.labels.to(accelerator.device)
        audio_features = data.encoding.states(batch.audio, accelerator.device)
        targets = data.teacher.targets(audio_features, inputs, labels, batch.audio.samples)
        return {"audio_features": audio_features, "inputs": inputs, "labels": labels, "teacher": targets}

    def save(trained: Any, target: Path) -> None:
        save_model(trained, target)
        save_processor(given.processor, target)
        write_text(target / "examples.md", validator.examples)
        capabilities_of(labelled, config, given.short_windows).save(target)
        if data.vocabulary is not None:
            data.vocabulary.save(target)
        save_draft_trees(validator.trees, target)
        name, revision = origin(config, folder)
        PairManifest(
            main=name,
            main_revision=revision,
            encoder_sha256=encoder_sha256(folder),
            vocabulary_sha256=vocabulary_sha256(given.processor.tokenizer),
            layers=layers,
            language=config.language,
            task=config.task,
            short_windows=given.short_windows,
        ).save(target)

    disk = data.cache_bytes + training_bytes(module, student, saved_as, settings)
    if dry_run:
        windows, processes = len(given.windows), accelerator.num_processes
        steps = plan_of(given, given.windows, processes).steps
        a_step = probe(accelerator, module, settings, data.batches, prepare, plan)
        seconds = data.labelling_seconds + steps * a_step
        parts = memory_parts(module, [main])
        estimate = Estimate("distill", windows, steps, seconds, *peak_memory(), disk, processes, parts)
        hours = data.labelling_seconds / 3600
        logger.info("%s; %.2g hours of them to label, validations apart", estimate, hours)
        return stage.folder
    require_disk(stage.work, disk, "distill.keep: 1 or distill.cache: none", labels.folder)
    gathered = partial(gathered_model, accelerator, student)
    trained = Trainable(module, prepare, gathered, validator.score, save, saved_as)
    best = fit(accelerator, trained, settings, plan, data.batches, stage.work, config.data.workers)
    if accelerator.is_main_process:
        warn_of_other_type(best, saved_as)
        about = provenance(config, str(accelerator.device)) | {"kept": asdict(data.policy)}
        write_json(best / "provenance.json", about)
        stage.finish(best)
        logger.info("%s: the assistant", stage.folder)
    accelerator.end_training()
    return stage.folder


def plan_of(given: DistillationInputs, windows: Sequence[Window], processes: int) -> Plan:
    """The steps over the windows of the examples; where they differ in length, each step holds those of one length."""
    plan = Plan.of(given.config.distill, len(windows), processes, given.config.seed)
    if given.margin is None:
        return plan
    frames, full = tuple(given.frames(window) for window in windows), given.main.config.max_source_positions
    return replace(plan, short=EqualSteps(frames, plan.per_step, full, given.config.seed))


def draft_validator(
    given: DistillationInputs, data: DistillationData, accelerator: Any, labels: Path, work: Path
) -> DraftValidator:
    """Scores students on held-out clips, alone and joined into full windows.

    The main's transcripts of them are stored in `labels`, so that the next assistant of this main is scored by the
    same ones. `work`: the stage's work folder.
    """
    config = given.config
    speech = fingerprint(config.data.validation)

    def transcripts_of(clips: Sequence[Clip | JoinedClips], name: str) -> HeldOutTranscripts:
        about = [speech, [each.name for each in clips], *([] if given.margin is None else [given.margin])]
        folder = labels / f"held-out-{name}-{digest_of(about)[:12]}"
        folder.mkdir(exist_ok=True)
        tokenizer, margin = given.processor.tokenizer, given.margin
        validator = Validator(clips, given.log_mel, tokenizer, config, folder / "states", margin)
        return HeldOutTranscripts(given.main, validator, given.options, accelerator, folder / "transcripts")

    full = joined(given.held_out, config, given.log_mel.seconds)
    in_windows = transcripts_of(full, "windows") if full else None
    tokens = None if data.vocabulary is None else data.vocabulary.tensor
    return DraftValidator(transcripts_of(given.held_out, "clips"), in_windows, work / "costs.json", tokens)
