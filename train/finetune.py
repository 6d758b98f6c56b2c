"""Fine-tunes the main: data -> windows -> training -> `main/`, a stock checkpoint."""

from pathlib import Path

import torch

from whisper_pair.audio import LogMel
from whisper_pair.batches import Batches, Encoding, Example
from whisper_pair.checkpoints import checkpoint_folder, load_main, load_processor
from whisper_pair.config import Config
from whisper_pair.data import (
    Corpus,
    drop_long_texts,
    fingerprint,
    load_test_clips,
    load_training_clips,
    pack,
    windowing,
)
from whisper_pair.decoding.vocabulary import SpecialTokens
from whisper_pair.errors import InputError
from whisper_pair.estimate import Estimate, cache_bytes, peak_memory, probe, require_disk, training_bytes
from whisper_pair.listening import Listener, pooled_over_processes
from whisper_pair.runs import Stage, as_json, file_digest, provenance, write_json
from whisper_pair.states import EncoderCache
from whisper_pair.text import metric_name
from whisper_pair.training import Plan, Score, begin, deciding, fit, make_accelerator

from .model import TranscriptLoss, choose_parameters, merged


def stage_of(config: Config, start: Path) -> Stage:
    """The fine-tuning of `start`, identified by all that decides its outcome."""
    names = ("language", "task", "seed", "model", "revision", "train")
    inputs = {name: value for name, value in config.resolved().items() if name in names}
    inputs["train"] = deciding(inputs["train"])
    inputs["data"] = windowing(config.data)
    inputs["train_data"] = fingerprint([source for source in config.data.train if source.text])
    inputs["validation_data"] = fingerprint(config.data.validation)
    inputs["start"] = {file.name: file_digest(file) for file in sorted(start.glob("*.safetensors"))}
    return Stage(Path(config.output) / "main", as_json(inputs))


def finetune(config: Config, overwrite: bool = False, dry_run: bool = False) -> Path:
    """Returns the folder of the finished main; at once where it is already there. `dry_run`: says what it will take."""
    settings, data = config.train, config.data
    if settings is None:
        raise InputError("train: null, so there is nothing to fine-tune; distill uses the checkpoint as it stands.")
    start = checkpoint_folder(config.model, config.revision)
    stage = stage_of(config, start)
    if stage.finished():
        stage.tidy()
        print(f"{stage.folder}: already fine-tuned from these inputs")
        return stage.folder
    stage.refuse_other_inputs(overwrite)

    processor = load_processor(start)
    tokenizer, log_mel = processor.tokenizer, LogMel(processor.feature_extractor)
    model = load_main(start)
    prefix = forced_prefix(model, config)
    limit = model.config.max_target_positions
    corpus = load_training_clips([source for source in data.train if source.text], data, log_mel.seconds)
    examples = make_examples(corpus, config, tokenizer, prefix, log_mel.seconds, limit)
    validation = load_test_clips(data.validation, data, log_mel.seconds, "validation")

    accelerator = make_accelerator(config, settings, "train")
    begin(accelerator, stage, config)
    seconds = sum(example.window.seconds for example in examples)
    accelerator.print(corpus.report("training"))
    full = 100 * seconds / (len(examples) * log_mel.seconds)
    accelerator.print(f"{len(examples)} windows, {full:.0f} % of them speech")
    torch.manual_seed(config.seed)
    model = choose_parameters(model.to(accelerator.device), settings)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})

    frozen = settings.encoder_is_frozen
    cache = None
    if settings.cache_encoder:
        shape = (model.config.max_source_positions, model.config.d_model)
        cache = EncoderCache(stage.work / "states", len(examples), *shape)
    batches = Batches(examples, log_mel, cache)
    encoding = Encoding(model.model.encoder, log_mel, settings.spec_augment, cache)
    listener = Listener(validation, log_mel, tokenizer, config, stage.work / "heard" if frozen else None)

    def prepare(batch):
        heard = encoding.states(batch, accelerator.device) if frozen else encoding.features(batch, accelerator.device)
        return {name: batch[name].to(accelerator.device) for name in ("inputs", "labels")} | {"heard": heard}

    def validate() -> Score:
        rates = listener.error_rates(merged(model, settings), accelerator.process_index, accelerator.num_processes)
        rate = pooled_over_processes(accelerator, rates).rate
        return Score({f"validation_{metric_name(config.language)}": rate}, -rate)

    def save(folder: Path) -> None:
        save_checkpoint(merged(model, settings), processor, folder)

    plan = Plan.of(settings, len(examples), accelerator.num_processes, config.seed)
    module = TranscriptLoss(model, settings)
    kept = len(validation) * frozen + len(examples) * settings.cache_encoder  # windows whose encoder states stay
    disk = training_bytes(module, model, settings) + cache_bytes(kept, model.config)
    if dry_run:
        seconds = plan.steps * probe(accelerator, module, settings, batches, prepare, len(examples))
        estimate = Estimate(
            "train", len(examples), plan.steps, seconds, *peak_memory(), disk, accelerator.num_processes
        )
        accelerator.print(f"{estimate}; validations apart")
        return stage.folder
    require_disk(stage.work, disk, "train.keep: 1 or train.cache_encoder: false")
    best = fit(accelerator, module, settings, plan, batches, prepare, validate, save, stage.work, data.workers)
    if accelerator.is_main_process:
        write_json(best / "provenance.json", provenance(config, str(accelerator.device)))
        stage.finish(best)
        print(f"{stage.folder}: the fine-tuned main")
    accelerator.end_training()
    return stage.folder


def forced_prefix(model, config: Config) -> list[int]:
    """The tokens that precede every transcript. Raises InputError for a language or task that the checkpoint lacks."""
    special = SpecialTokens.of(model)
    special.check_task(config.task)
    if not special.languages and config.language == "en":
        return special.prefix(None, config.task, False, None)
    return special.prefix(special.language_token(config.language), config.task, False, None)


def make_examples(
    corpus: Corpus, config: Config, tokenizer, prefix: list[int], window_seconds: float, limit: int
) -> list[Example]:
    """Windows of clips that have text, with that text as the target."""
    untold = len(corpus.clips)
    corpus.clips = [clip for clip in corpus.clips if clip.text is not None]
    if untold > len(corpus.clips):
        corpus.dropped["without text"] += untold - len(corpus.clips)
    if not corpus.clips:
        raise InputError("data.train: no clip has text, which fine-tuning needs; give a source with a text column.")

    def count_tokens(texts: list[str]) -> list[int]:
        return [len(ids) for ids in tokenizer([" " + text for text in texts], add_special_tokens=False).input_ids]

    room = limit - len(prefix)
    tokens = drop_long_texts(corpus, count_tokens, room)
    windows = pack(corpus.clips, config.data, window_seconds, config.seed, tokens, room)
    texts = tokenizer([" " + window.text.strip() for window in windows], add_special_tokens=False).input_ids
    end = tokenizer.eos_token_id
    return [Example(window, (*prefix, *ids, end), len(prefix)) for window, ids in zip(windows, texts, strict=True)]


def save_checkpoint(model, processor, folder: Path) -> None:
    """A stock checkpoint. SpecAugment is ours, applied to batches, so nothing of it is in the model's configuration."""
    model.config.apply_spec_augment = False
    model.generation_config._from_model_config = False  # else lang_to_id and its kin are lost on reloading
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
