"""Fine-tunes the main: data -> windows -> training -> `main/`, a stock checkpoint."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import (
    checkpoint_folder,
    load_main,
    load_processor,
    save_model,
    save_processor,
    weight_digests,
)
from whisper_pair.config import Config
from whisper_pair.data import (
    TIMESTAMP_TOKENS,
    Corpus,
    alone,
    drop_long_texts,
    fingerprint,
    load_test_clips,
    load_training_clips,
    pack,
    padding_saved,
    repeated_by_weight,
    windowing_settings,
    write_data_report,
)
from whisper_pair.errors import InputError
from whisper_pair.precision import DTYPES, in_dtype, refuse_other_type, resolved, saved_dtype, warn_of_other_type
from whisper_pair.runs import (
    Estimate,
    Stage,
    as_json,
    cache_bytes,
    device_type,
    memory_parts,
    peak_memory,
    provenance,
    require_disk,
    training_bytes,
    write_json,
)
from whisper_pair.text import metric_name
from whisper_pair.training import (
    Batch,
    Batches,
    EncoderCache,
    Example,
    FrozenEncoder,
    Plan,
    ShortSteps,
    TargetTokens,
    Trainable,
    ValidationScore,
    Validator,
    begin_stage,
    capabilities_of,
    deciding_settings,
    fit,
    make_accelerator,
    pooled_over_processes,
    probe,
    short_windows_of,
    with_restored_style,
)

from .model import TranscriptLoss, choose_parameters, placed, stock

logger = logging.getLogger("whisper_pair.train")

FROZEN_ENCODER = (
    "train.short_windows: with the encoder frozen, windows as long as their speech stay worse than full ones; train "
    "the encoder too, with train.parameters: all or train.lora.encoder: true"
)


def stage_of(config: Config, start: Path, precision: str) -> Stage:
    """The fine-tuning of `start`, identified by all that decides its outcome; `precision`: with `auto` resolved."""
    names = ("language", "task", "seed", "model", "revision", "train")
    inputs = {name: value for name, value in config.resolved().items() if name in names}
    inputs["train"] = deciding_settings(inputs["train"]) | {"precision": precision}
    inputs["data"] = windowing_settings(config.data)
    inputs["train_data"] = fingerprint([source for source in config.data.train if source.text])
    inputs["validation_data"] = fingerprint(config.data.validation)
    inputs["start"] = weight_digests(start)
    return Stage(Path(config.output) / "main", as_json(inputs))


def finetune(config: Config, overwrite: bool = False, dry_run: bool = False) -> Path:
    """Returns the folder of the finished main, at once if it is there. `dry_run`: only prints what it would take.

    Raises InputError for what cannot be used, before anything is computed.
    """
    settings, data = config.train, config.data
    if settings is None:
        raise InputError("train: null, so there is nothing to fine-tune; distill uses the checkpoint as it is.")
    start = checkpoint_folder(config.model, config.revision)
    precision = resolved(settings.precision, device_type(), "train.precision", trains=True)
    stage, saved_as = stage_of(config, start, precision), saved_dtype(settings.save_dtype, start)
    if stage.finished():
        refuse_other_type(stage.folder, settings.save_dtype, "train.save_dtype")
        stage.tidy()
        logger.info("%s: already fine-tuned from these inputs", stage.folder)
        return stage.folder
    stage.refuse_other_inputs(overwrite)

    processor = load_processor(start)
    tokenizer, log_mel = processor.tokenizer, LogMel(processor.feature_extractor)
    model = load_main(start, torch.float32)
    targets = TargetTokens.of(model, tokenizer, config.language, config.task)
    targets.check(data.timestamps, data.previous_text)
    corpus = load_training_clips([source for source in data.train if source.text], data, log_mel.seconds)
    if not dry_run:
        corpus = with_restored_style(corpus, config, start, DTYPES[precision], log_mel, tokenizer)
    examples = make_examples(corpus, config, targets, log_mel.seconds)
    short = [] if settings.short_windows is None else clips_alone(corpus, config, targets, log_mel.seconds)
    validation = load_test_clips(data.validation, data, log_mel.seconds, "validation")

    if short and settings.encoder_is_frozen:
        logger.warning("%s", FROZEN_ENCODER)
    accelerator = make_accelerator(config, settings, "train")
    begin_stage(accelerator, stage, config)
    logger.info(corpus.report("training"))
    windows, tokens = [e.window for e in examples], [len(e.tokens) - e.prefix for e in examples]
    logger.info(padding_saved(windows, log_mel.seconds))
    if accelerator.is_main_process:
        write_data_report(Path(config.output), "main", corpus, windows, tokens, log_mel.seconds)
    torch.manual_seed(config.seed)
    model, encoder = placed(model, settings, DTYPES[precision], accelerator.device)
    model = choose_parameters(model, settings)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})

    frozen = settings.encoder_is_frozen
    cache = None
    if settings.cache_encoder:
        shape = (model.config.max_source_positions, model.config.d_model)
        cache = EncoderCache(stage.work / "states", len(examples), *shape)
    shown = repeated_by_weight(windows, config.seed)
    batches = Batches([*(examples[number] for number in shown), *short], log_mel, cache and cache.of(shown))
    encoding = FrozenEncoder(encoder, log_mel, settings.spec_augment, batches.cache)
    trained_as = capabilities_of([example.window for example in batches.examples], config, short_windows_of(settings))
    validators = {
        "": Validator(validation, log_mel, tokenizer, config, stage.work / "validation-states" if frozen else None)
    }
    if trained_as.short_windows is not None:
        margin = trained_as.short_windows.margin
        validators["_short"] = Validator(validation, log_mel, tokenizer, config, margin=margin)

    def prepare(batch: Batch) -> dict[str, Tensor]:
        encode, device = encoding.states if frozen else encoding.features, accelerator.device
        tokens = {"inputs": batch.inputs.to(device), "labels": batch.labels.to(device)}
        return tokens | {"audio_features": encode(batch.audio, device)}

    def validate(trained: Any) -> ValidationScore:
        running = in_dtype(trained, DTYPES[precision], encoder if frozen else None)
        metric = f"validation_{metric_name(config.text_language)}"
        share = accelerator.process_index, accelerator.num_processes
        rates = {
            f"{metric}{kind}": pooled_over_processes(accelerator, validator.error_rates(running, *share)).rate
            for kind, validator in validators.items()
        }
        return ValidationScore(rates, -sum(rates.values()) / len(rates))

    def save(trained: Any, folder: Path) -> None:
        save_checkpoint(trained, processor, folder)
        trained_as.save(folder)

    plan = Plan.of(settings, len(shown), accelerator.num_processes, config.seed)
    if settings.short_windows is not None:
        lengths, full = [example.window.seconds for example in short], model.config.max_source_positions
        steps = ShortSteps.of(settings.short_windows, lengths, plan.per_step, full, len(shown), config.seed)
        plan = replace(plan, short=steps)
    module = TranscriptLoss(model, settings)
    cached = len(validation) * frozen + len(examples) * settings.cache_encoder  # windows with encoder states on disk
    frames = cached * model.config.max_source_positions
    disk = training_bytes(module, model, saved_as, settings) + cache_bytes(frames, model.config)
    if dry_run:
        seconds = plan.steps * probe(accelerator, module, settings, batches, prepare, plan)
        estimate = Estimate(
            "train", len(examples), plan.steps, seconds, *peak_memory(), disk, accelerator.num_processes,
            memory_parts(module, [model]),
        )  # fmt: skip
        logger.info("%s; validations apart", estimate)
        return stage.folder
    require_disk(stage.work, disk, "train.keep: 1 or train.cache_encoder: false")
    trained = Trainable(module, prepare, lambda: stock(model, settings, accelerator), validate, save, saved_as)
    best = fit(accelerator, trained, settings, plan, batches, stage.work, data.workers)
    if accelerator.is_main_process:
        warn_of_other_type(best, saved_as)
        write_json(best / "provenance.json", provenance(config, str(accelerator.device)))
        stage.finish(best)
        logger.info("%s: the fine-tuned main", stage.folder)
    accelerator.end_training()
    return stage.folder


def make_examples(corpus: Corpus, config: Config, targets: TargetTokens, window_seconds: float) -> list[Example]:
    """Windows of the clips that have text, with that text as the target. Raises InputError where no clip has."""
    for clip in corpus.clips:
        if clip.text is None:
            corpus.drop("without text", clip.name)
    corpus.clips = [clip for clip in corpus.clips if clip.text is not None]
    if not corpus.clips:
        raise InputError("data.train: no clip has text, which fine-tuning needs; give a source with a text column.")
    most = targets.room - (TIMESTAMP_TOKENS if config.data.timestamps else 0)
    tokens = drop_long_texts(corpus, targets.count, most)
    windows = pack(corpus.clips, config.data, window_seconds, config.seed, tokens, targets.room)
    return [Example(window, *targets.human(window)) for window in windows]


def clips_alone(corpus: Corpus, config: Config, targets: TargetTokens, window_seconds: float) -> list[Example]:
    """What short windows hold: each clip by itself, as often as its source's weight says."""
    windows = alone(corpus.clips, config.data, window_seconds, config.seed)
    shown = [windows[number] for number in repeated_by_weight(windows, config.seed)]
    return [Example(window, *targets.human(window)) for window in shown]


def save_checkpoint(model: Any, processor: Any, folder: Path) -> None:
    """Saves a stock checkpoint. SpecAugment is applied to batches by us, so the model's configuration has it off."""
    model.config.apply_spec_augment = False
    model.generation_config._from_model_config = False  # otherwise lang_to_id and the like are lost on reloading
    save_model(model, folder)
    save_processor(processor, folder)
