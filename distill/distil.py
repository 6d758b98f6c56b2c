"""Distils the assistant: the main's labels -> training -> `assistant/`, a stock decoder with its pair.json."""

import time
from pathlib import Path

import torch

from whisper_pair.audio import LogMel
from whisper_pair.batches import Batches, Encoding, Example
from whisper_pair.checkpoints import Lineage, encoder_sha256, load_main, load_processor, main_folder, vocabulary_sha256
from whisper_pair.config import Config
from whisper_pair.data import Window, fingerprint, load_test_clips, load_training_clips, pack, windowing
from whisper_pair.decoding import Engine
from whisper_pair.decoding.vocabulary import SpecialTokens
from whisper_pair.estimate import Estimate, cache_bytes, peak_memory, probe, require_disk, training_bytes
from whisper_pair.listening import Listener
from whisper_pair.losses import IGNORE
from whisper_pair.runs import Stage, as_json, file_digest, provenance, write_json
from whisper_pair.states import EncoderCache
from whisper_pair.text import Normalizer
from whisper_pair.training import Plan, begin, deciding, fit, make_accelerator

from .label import Labeller, label, label_options, read_labels, trusted
from .student import DistillationLoss, build_student, chosen_layers
from .validate import Drafting


def labels_stage(config: Config, main: Path) -> Stage:
    inputs = {
        "main": {file.name: file_digest(file) for file in sorted(main.glob("*.safetensors"))},
        "language": config.language,
        "task": config.task,
        "seed": config.seed,
        "data": windowing(config.data),
        "train_data": fingerprint(config.data.train),
    }
    return Stage(Path(config.output) / "labels", as_json(inputs))


def assistant_stage(config: Config, labels: Stage) -> Stage:
    inputs = {
        "labels": labels.inputs,
        "distill": deciding(config.resolved()["distill"]),
        "validation_data": fingerprint(config.data.validation),
    }
    return Stage(Path(config.output) / "assistant", as_json(inputs))


def distil(config: Config, overwrite: bool = False, dry_run: bool = False) -> Path:
    """Returns the folder of the finished assistant; at once where it is already there. `dry_run`: says its cost."""
    settings = config.distill
    folder = main_folder(config)
    labels = labels_stage(config, folder)
    stage = assistant_stage(config, labels)
    if stage.finished():
        stage.tidy()
        print(f"{stage.folder}: already distilled from these inputs")
        return stage.folder
    stage.refuse_other_inputs(overwrite)
    labels.refuse_other_inputs(overwrite)

    processor = load_processor(folder)
    tokenizer, log_mel = processor.tokenizer, LogMel(processor.feature_extractor)
    main = load_main(folder).requires_grad_(False)
    layers = chosen_layers(settings.layers, main.config.decoder_layers)
    listener = Listener(
        load_test_clips(config.data.validation, config.data, log_mel.seconds, "validation"),
        log_mel, tokenizer, config, stage.work / "heard",
    )  # fmt: skip
    corpus = load_training_clips(config.data.train, config.data, log_mel.seconds)
    windows = pack(corpus.clips, config.data, log_mel.seconds, config.seed)
    total = len(windows)

    accelerator = make_accelerator(config, settings, "distill")
    if accelerator.is_main_process and not labels.finished():
        labels.begin(config)
    begin(accelerator, stage, config)
    accelerator.print(corpus.report("training"))
    main.to(accelerator.device)
    disk = cache_bytes(len(listener.clips) + total * settings.cache_encoder, main.config)
    if dry_run and not labels.finished():
        windows = windows[: 2 * settings.label_batch_size * accelerator.num_processes]
    else:
        require_disk(stage.work, disk, "distill.cache_encoder: false", labels.folder, labels.work)
    cache = None
    if settings.cache_encoder:
        shape = (main.config.max_source_positions, main.config.d_model)
        states = labels.folder if labels.finished() else labels.work
        cache = EncoderCache(states / "states", len(windows), *shape)
    encoding, labelling = Encoding(main.model.encoder, log_mel, None, cache), 0.0
    language = config.language if SpecialTokens.of(main).languages else None
    options = label_options(config, language)
    if not labels.finished():
        normalizer = Normalizer(config.language, getattr(tokenizer, "english_spelling_normalizer", None) or None)
        labeller = Labeller(Engine(main), encoding, cache, tokenizer, config, normalizer, options)
        begun = time.perf_counter()
        label(labeller, windows, labels, accelerator)
        labelling = (time.perf_counter() - begun) * total / len(windows)
        if cache is not None:  # the files have moved with their folder
            cache = EncoderCache(labels.folder / "states", len(windows), *shape)
            encoding.cache = cache

    rows, dropped = read_labels(labels.folder), {}
    if not dry_run:  # whose main may be untrained
        rows, dropped = trusted(rows, settings.max_label_error)
    lost = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    accelerator.print(f"labels: {len(rows)} windows" + (f"; dropped {lost}" if lost else ""))
    prefix = SpecialTokens.of(main).prefix(
        None if language is None else SpecialTokens.of(main).language_token(language), config.task, False, None
    )
    examples: list[Example] = labelled_examples(rows, windows, prefix)

    torch.manual_seed(config.seed)
    student = build_student(main, layers)
    module = DistillationLoss(student, main.proj_out.weight, settings)
    if settings.gradient_checkpointing:
        student.gradient_checkpointing_enable({"use_reentrant": False})
    batches = Batches([example for _, example in examples], log_mel, cache and cache.of([n for n, _ in examples]))
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
    disk += training_bytes(module, student, settings)
    if dry_run:
        steps = Plan.of(settings, total, accelerator.num_processes, config.seed).steps
        seconds = labelling + steps * probe(accelerator, module, settings, batches, prepare, len(examples))
        estimate = Estimate("distill", total, steps, seconds, *peak_memory(), disk, accelerator.num_processes)
        accelerator.print(f"{estimate}; {labelling / 3600:.2g} hours of them to label, validations apart")
        return stage.folder
    mend = "distill.keep: 1 or distill.cache_encoder: false"
    require_disk(stage.work, disk, mend, labels.folder)
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


def labelled_examples(rows: list[dict], windows: list[Window], prefix: list[int]) -> list[tuple[int, Example]]:
    """(window number, what the main said in it) for every label."""
    return [(row["window"], Example(windows[row["window"]], (*prefix, *row["tokens"]), len(prefix))) for row in rows]
