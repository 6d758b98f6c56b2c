"""Suggestions for an unknown key of a config: another word for a key, a mistyped one, or one of another section."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

# Words of other toolkits and of papers -> our keys; the first one that the section has is suggested.
SYNONYMS = {
    "audio_column_name": ("audio",),
    "base_model": ("model",),
    "batch": ("batch_size", "batch_sizes"),
    "bf16": ("precision",),
    "bs": ("batch_size",),
    "cache_dir": ("cache",),
    "ce": ("cross_entropy",),
    "checkpoint": ("model", "start"),
    "data_dir": ("folder", "data"),
    "dataloader_num_workers": ("workers",),
    "dataset": ("hub", "data"),
    "dataset_config_name": ("config",),
    "dataset_name": ("hub", "data"),
    "decoder_layers": ("layers",),
    "dev": ("validation",),
    "dir": ("corpus", "folder", "output"),
    "draft_model": ("assistant",),
    "dtype": ("precision", "cache_dtype"),
    "early_stopping_patience": ("patience",),
    "eval_steps": ("evaluations",),
    "evaluate": ("eval",),
    "evaluation": ("eval",),
    "file": ("manifest", "parquet"),
    "finetune": ("train",),
    "fp16": ("precision",),
    "freeze_encoder": ("parameters",),
    "gamma": ("draft_tokens",),
    "grad_accum": ("accumulation",),
    "grad_clip": ("max_grad_norm",),
    "gradient_accumulation": ("accumulation",),
    "gradient_accumulation_steps": ("accumulation",),
    "json": ("manifest",),
    "kl_weight": ("kl",),
    "lang": ("language",),
    "log_with": ("tracker",),
    "logger": ("tracker",),
    "lora_alpha": ("alpha",),
    "lora_r": ("rank",),
    "loss": ("losses",),
    "lr": ("learning_rate",),
    "lr_scheduler_type": ("schedule",),
    "max_steps": ("epochs",),
    "metadata": ("manifest",),
    "mixed_precision": ("precision",),
    "model_id": ("model",),
    "model_name": ("model",),
    "model_name_or_path": ("model",),
    "n_layers": ("layers",),
    "name": ("config", "model"),
    "num_epochs": ("epochs",),
    "num_layers": ("layers",),
    "num_train_epochs": ("epochs",),
    "num_workers": ("workers",),
    "out": ("output",),
    "out_dir": ("output",),
    "output_dir": ("output",),
    "path": ("corpus", "manifest", "output"),
    "peft": ("lora",),
    "per_device_train_batch_size": ("batch_size",),
    "per_device_eval_batch_size": ("batch_sizes", "batch_size"),
    "pretrained_model_name_or_path": ("model",),
    "r": ("rank",),
    "report_to": ("tracker",),
    "repo": ("hub", "model"),
    "save_steps": ("checkpoints",),
    "save_total_limit": ("keep",),
    "scheduler": ("schedule",),
    "sentence": ("text",),
    "specaugment": ("spec_augment",),
    "speculative_tokens": ("draft_tokens",),
    "student": ("assistant", "distill"),
    "subset": ("config",),
    "target_modules": ("targets",),
    "teacher": ("model",),
    "test_data": ("test",),
    "text_column": ("text",),
    "text_column_name": ("text",),
    "train_data": ("train",),
    "transcript": ("text",),
    "transcription": ("text",),
    "url": ("hub", "webdataset"),
    "val": ("validation",),
    "valid": ("validation",),
    "wandb": ("tracker",),
    "warmup_ratio": ("warmup",),
    "warmup_steps": ("warmup",),
    "wd": ("weight_decay",),
}
SIMILAR = 0.75  # of difflib's ratio: a mistyped word reaches it


def meant_by(key: Any, fields: typing.Collection[str], prefix: str, root: type) -> str:
    """A clause that names the keys that were likely meant.

    `fields`: the section's; `prefix`: its path, with a dot; `root`: the class of the whole config.
    """
    word = str(key).strip().lower().replace("-", "_")
    own = [word, *SYNONYMS.get(word, ())]
    here = [prefix + name for name in own if name in fields][:1]
    elsewhere: dict[str, list[str]] = {}
    for path in sorted(paths(root), key=lambda path: not path.startswith(prefix)):
        elsewhere.setdefault(path.rpartition(".")[2], []).append(path)
    if not here and word in SYNONYMS:
        here = next((elsewhere[name] for name in own if name in elsewhere), [])
    here = here or [prefix + name for name in difflib.get_close_matches(word, fields, n=1, cutoff=SIMILAR)]
    here = here or elsewhere.get(word, [])
    here = here or [path for name in difflib.get_close_matches(word, elsewhere, 1, SIMILAR) for path in elsewhere[name]]
    if here:
        return f"the nearest known one is {' or '.join(here[:3])}"
    return f"known here are {', '.join(fields)}"


def paths(kind: type, prefix: str = "") -> Iterator[str]:
    """Every key below a class of the schema, by its full path; of a list's items, those of the first."""
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        yield f"{prefix}{name}"
        for section, inside in sections(hint):
            yield from paths(section, f"{prefix}{name}.{inside}")


def sections(hint: Any) -> Iterator[tuple[type, str]]:
    """The dataclasses within a type, each with the path to it: "" or, in a list, "0."."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        yield typing.cast("type", hint), ""
    elif origin is Annotated:
        yield from sections(args[0])
    elif origin in (types.UnionType, typing.Union):
        for option in args:
            yield from sections(option)
    elif origin is tuple:
        yield from ((section, f"0.{inside}") for section, inside in sections(args[0]))
