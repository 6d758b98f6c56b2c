"""Distils the assistant: the main's labels -> training -> `assistant/`, a stock decoder with its pair.json."""

from dataclasses import replace
from pathlib import Path

import torch

from whisper_pair.audio import LogMel
from whisper_pair.batches import Batches, Encoding, Example
from whisper_pair.checkpoints import Lineage, encoder_sha256, load_main, load_processor, main_folder, vocabulary_sha256
from whisper_pair.config import Config
from whisper_pair.data import (
    Window,
    fingerprint,
    load_test_clips,
    load_training_clips,
    pack,
    padding_saved,
    repeats,
    windowing,
    write_data_report,
)
from whisper_pair.decoding import Engine
from whisper_pair.decoding.vocabulary import SpecialTokens
from whisper_pair.listening import Listener
from whisper_pair.losses import IGNORE
from whisper_pair.runs import Stage, as_json, file_digest, provenance, write_json
from whisper_pair.states import EncoderCache
from whisper_pair.targets import Targets
from whisper_pair.text import Normalizer
from whisper_pair.training import Plan, begin, fit, make_accelerator

from .label import Labeller, label, label_options, read_labels
from .student import DistillationLoss, build_student, chosen_layers
from .trust import Judge, trusted_labels
from .validate import Drafting


def labels_stage(config: Config, main: Path) -> Stage:
    decisive = [*main.glob("*.safetensors"), *main.glob("generation_config.json")]  # the latter holds decoding's rules
    inputs = {
        "main": {file.name: file_digest(file) for file in sorted(decisive)},
        "language": config.language,
        "task": config.task,
        "seed": config.seed,
        "data": windowing(config.data),
        "train_data": fingerprint([replace(s, weight=min(1.0, s.weight)) for s in config.data.train]),
    }
    return Stage(Path(config.output) / "labels", as_json(inputs))


def assistant_stage(config: Config, labels: Stage) -> Stage:
    inputs = {
        "labels": labels.inputs,
        "distill": config.resolved()["distill"],
        "weights": [source.weight for source in config.data.train],
        "validation_data": fingerprint(config.data.validation),
    }
    return Stage(Path(config.output) / "assistant", as_json(inputs))


def distil(config: Config, overwrite: bool = False) -> Path:
    """Returns the folder of the finished assistant; at once where it is already there."""
    settings = config.distill
    folder = main_folder(config)
    labels = labels_stage(config, folder)
    stage = assistant_stage(config, labels)
    if stage.finished():
        print(f"{stage.folder}: already distilled from these inputs")
        return stage.folder
    stage.refuse_other_inputs(overwrite)
    labels.refuse_other_inputs(overwrite)

    processor = load_processor(folder)
    tokenizer, log_mel = processor.tokenizer, LogMel(processor.feature_extractor)
    main = load_main(folder).requires_grad_(False)
    targets = Targets.of(main, tokenizer, config.language, config.task)
    targets.check(config.data.timestamps, config.data.previous_text)
    layers = chosen_layers(settings.layers, main.config.decoder_layers)
    listener = Listener(
        load_test_clips(config.data.validation, config.data, log_mel.seconds, "validation"),
        log_mel, tokenizer, config, stage.work / "heard",
    )  # fmt: skip
    corpus = load_training_clips(config.data.train, config.data, log_mel.seconds)
    windows = pack(corpus.clips, config.data, log_mel.seconds, config.seed)

    accelerator = make_accelerator(config, settings, "distill")
    if accelerator.is_main_process and not labels.finished():
        labels.begin(config)
    begin(accelerator, stage, config)
    accelerator.print(corpus.report("training"))
    accelerator.print(padding_saved(windows, log_mel.seconds))
    main.to(accelerator.device)
    cache = None
    if settings.cache_encoder:
        shape = (main.config.max_source_positions, main.config.d_model)
        states = labels.folder if labels.finished() else labels.work
        cache = EncoderCache(states / "states", len(windows), *shape)
    encoding = Encoding(main.model.encoder, log_mel, None, cache)
    language = config.language if SpecialTokens.of(main).languages else None
    options = label_options(config, language)
    normalizer = Normalizer(config.language, getattr(tokenizer, "english_spelling_normalizer", None) or None)
    labeller = Labeller(Engine(main), encoding, targets, config, normalizer, options)
    if not labels.finished():
        label(labeller, windows, labels.work, accelerator)
        if accelerator.is_main_process:
            labels.finish()
        accelerator.wait_for_everyone()
        if cache is not None:  # the files have moved with their folder
            cache = EncoderCache(labels.folder / "states", len(windows), *shape)

    encoding.cache = None  # of windows by number, which those that are labelled again do not have
    judge = Judge(settings, config.language, normalizer)
    labelled = trusted_labels(judge, labeller, windows, read_labels(labels.folder), labels.folder, accelerator)
    accelerator.print(labelled.report())
    if accelerator.is_main_process:
        kept = [window for window, _ in labelled.kept]
        tokens = [len(row["tokens"]) for _, row in labelled.kept]
        write_data_report(Path(config.output), "assistant", corpus, kept, tokens, log_mel.seconds, labelled.section())
    if cache is not None and labelled.again:  # its windows are others
        cache = EncoderCache(stage.work / "states", len(labelled.kept), *shape)
        numbers = list(range(len(labelled.kept)))
    else:
        numbers = [row["window"] for _, row in labelled.kept]
    shown = repeats([window for window, _ in labelled.kept], config.seed)
    examples = [labelled_example(*labelled.kept[number]) for number in shown]

    torch.manual_seed(config.seed)
    student = build_student(main, layers)
    module = DistillationLoss(student, main.proj_out.weight, settings)
    if settings.gradient_checkpointing:
        student.gradient_checkpointing_enable({"use_reentrant": False})
    batches = Batches(examples, log_mel, cache and cache.of([numbers[number] for number in shown]))
    encoding.cache = batches.cache
    drafting = Drafting(main, listener, options, accelerator, stage.work)

    def prepare(batch):
        inputs, labels_ = (batch[name].to(accelerator.device) for name in ("inputs", "labels"))
        heard = encoding.states(batch, accelerator.device)
        with torch.no_grad():
            spoken = main.model.decoder(input_ids=inputs, encoder_hidden_states=heard, use_cache=False)
        return {
            "heard": heard,
            "teacher_hidden": spoken.last_hidden_state[labels_ != IGNORE],
            "inputs": inputs,
            "labels": labels_,
        }

    def save(target: Path) -> None:
        student.save_pretrained(target)
        processor.save_pretrained(target)
        Lineage(
            main=str(folder),
            encoder_sha256=encoder_sha256(folder),
            vocabulary_sha256=vocabulary_sha256(tokenizer),
            layers=layers,
            language=config.language,
            task=config.task,
        ).save(target)

    plan = Plan.of(settings, len(examples), accelerator.num_processes, config.seed)
    best = fit(
        accelerator, module, settings, plan, batches, prepare, lambda: drafting.score(student), save, stage.work,
        config.data.workers,
    )  # fmt: skip
    if accelerator.is_main_process:
        write_json(best / "provenance.json", provenance(config, str(accelerator.device)))
        stage.finish(best)
        print(f"{stage.folder}: the assistant")
    accelerator.end_training()
    return stage.folder


def labelled_example(window: Window, row: dict) -> Example:
    """What the main said in a window, after the prefix that it was given."""
    return Example(window, (*row["prefix"], *row["tokens"]), len(row["prefix"]))
