"""Distils the assistant: the main's labels -> training -> `assistant/`, a stock decoder with its pair.json."""

import time
from dataclasses import asdict
from pathlib import Path

import torch

from whisper_pair.audio import LogMel
from whisper_pair.batches import Batches, Encoding, Example
from whisper_pair.checkpoints import (
    Lineage,
    checkpoint_folder,
    encoder_sha256,
    load_draft,
    load_main,
    load_processor,
    main_folder,
    vocabulary_sha256,
)
from whisper_pair.config import Config
from whisper_pair.data import Window, fingerprint, load_test_clips, load_training_clips, pack, windowing
from whisper_pair.decoding import Engine
from whisper_pair.decoding.vocabulary import SpecialTokens
from whisper_pair.draft_vocabulary import DraftVocabulary
from whisper_pair.errors import InputError
from whisper_pair.estimate import Estimate, cache_bytes, peak_memory, probe, require_disk, training_bytes
from whisper_pair.listening import Listener
from whisper_pair.runs import Stage, as_json, file_digest, provenance, write_json
from whisper_pair.states import EncoderCache
from whisper_pair.text import Normalizer
from whisper_pair.training import Plan, begin, deciding, fit, make_accelerator

from .keeping import Keeping
from .label import Labeller, label, label_options, read_labels, trusted
from .student import DistillationLoss, build_student, check_start, chosen_layers
from .teacher import DTYPES, Teacher, digest_of, teacher_cache
from .validate import Drafting, Spoken, joined


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


def assistant_stage(config: Config, labels: Stage, start: Path | None) -> Stage:
    inputs = {
        "labels": labels.inputs,
        "start": None if start is None else {f.name: file_digest(f) for f in sorted(start.glob("*.safetensors"))},
        "distill": deciding(config.resolved()["distill"]),
        "validation_data": fingerprint(config.data.validation),
    }
    return Stage(Path(config.output) / "assistant", as_json(inputs))


def distil(config: Config, overwrite: bool = False, dry_run: bool = False) -> Path:
    """Returns the folder of the finished assistant; at once where it is already there. `dry_run`: says its cost."""
    settings = config.distill
    folder = main_folder(config)
    labels = labels_stage(config, folder)
    start = None if settings.start is None else checkpoint_folder(settings.start)
    stage = assistant_stage(config, labels, start)
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
    if start is not None:
        check_start(start, folder, layers)
    if settings.cache_top_k > main.config.vocab_size:
        raise InputError(
            f"distill.cache_top_k: the main has {main.config.vocab_size} tokens, not {settings.cache_top_k}."
        )
    clips = load_test_clips(config.data.validation, config.data, log_mel.seconds, "validation")
    corpus = load_training_clips(config.data.train, config.data, log_mel.seconds)
    windows = pack(corpus.clips, config.data, log_mel.seconds, config.seed)
    total = len(windows)

    accelerator = make_accelerator(config, settings, "distill")
    if accelerator.is_main_process and not labels.finished():
        labels.begin(config)
    begin(accelerator, stage, config)
    accelerator.print(corpus.report("training"))
    main.to(accelerator.device)
    if dry_run and not labels.finished():
        windows = windows[: 2 * settings.label_batch_size * accelerator.num_processes]
    with accelerator.main_process_first():
        keeping = Keeping.chosen(settings, main, log_mel, windows, stage.work)
    accelerator.print(keeping)
    disk = cache_bytes(len(clips) + total * keeping.states, main.config)
    if not dry_run:
        require_disk(stage.work, disk, "distill.cache_encoder: false")
    about = {"main": labels.inputs["main"], "windows": digest_of([window.key for window in windows])}
    cache = None
    if keeping.states:
        shape = (main.config.max_source_positions, main.config.d_model)
        with accelerator.main_process_first():
            states = labels.folder if labels.finished() else labels.work
            cache = EncoderCache(states / "states", len(windows), *shape, about, DTYPES[settings.cache_dtype])
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
            cache = EncoderCache(labels.folder / "states", len(windows), *shape, about, DTYPES[settings.cache_dtype])

    rows, dropped = read_labels(labels.folder), {}
    if not dry_run:  # whose main may be untrained
        rows, dropped = trusted(rows, settings.max_label_error)
    lost = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    accelerator.print(f"labels: {len(rows)} windows" + (f"; dropped {lost}" if lost else ""))
    vocabulary = None
    if settings.draft_vocabulary is not None:
        vocabulary = DraftVocabulary.covering((row["tokens"] for row in rows), settings.draft_vocabulary)
        covered = f"{len(vocabulary.tokens)} tokens, {100 * vocabulary.covered:.2f} % of the labels"
        accelerator.print(f"draft vocabulary: {covered}")
    prefix = SpecialTokens.of(main).prefix(
        None if language is None else SpecialTokens.of(main).language_token(language), config.task, False, None
    )
    examples: list[Example] = labelled_examples(rows, windows, prefix)

    torch.manual_seed(config.seed)
    first = None if start is None else load_draft(start)
    student = build_student(main, layers, first, settings.train_embeddings)
    module = DistillationLoss(student, main.proj_out.weight, settings)
    if settings.gradient_checkpointing:
        student.gradient_checkpointing_enable({"use_reentrant": False})
    spoken = [example for _, example in examples]
    batches = Batches(spoken, log_mel, cache and cache.of([number for number, _ in examples]))
    encoding.cache = batches.cache
    teacher = Teacher(main)
    if keeping.teacher:
        with accelerator.main_process_first():
            where = labels.folder / "teacher"
            teacher.cache = teacher_cache(where, spoken, settings.cache_top_k, settings.cache_dtype, about)

    def spoken_in(heard: list, name: str) -> Spoken:
        listener = Listener(heard, log_mel, tokenizer, config, stage.work / f"heard-{name}")
        return Spoken(main, listener, options, accelerator, stage.work / f"spoken-{name}")

    full = joined(clips, config, log_mel.seconds)
    in_windows = spoken_in(full, "windows") if full else None
    drafting = Drafting(
        spoken_in(clips, "clips"), in_windows, stage.work / "costs.json", vocabulary and vocabulary.tensor
    )

    def prepare(batch):
        inputs, labels_ = (batch[name].to(accelerator.device) for name in ("inputs", "labels"))
        heard = encoding.states(batch, accelerator.device)
        known = teacher.knows(heard, inputs, labels_, batch["samples"])
        return {"heard": heard, "inputs": inputs, "labels": labels_, "teacher": known}

    def save(target: Path) -> None:
        student.save_pretrained(target)
        processor.save_pretrained(target)
        (target / "examples.md").write_text(drafting.examples, encoding="utf-8")
        if vocabulary is not None:
            vocabulary.save(target)
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
    require_disk(stage.work, disk, "distill.keep: 1 or distill.cache_encoder: false")
    best = fit(
        accelerator, module, settings, plan, batches, prepare, lambda: drafting.score(student), save, stage.work,
        config.data.workers,
    )  # fmt: skip
    if accelerator.is_main_process:
        write_json(best / "provenance.json", provenance(config, str(accelerator.device)) | {"kept": asdict(keeping)})
        stage.finish(best)
        print(f"{stage.folder}: the assistant")
    accelerator.end_training()
    return stage.folder


def labelled_examples(rows: list[dict], windows: list[Window], prefix: list[int]) -> list[tuple[int, Example]]:
    """(window number, what the main said in it) for every label."""
    return [(row["window"], Example(windows[row["window"]], (*prefix, *row["tokens"]), len(prefix))) for row in rows]
