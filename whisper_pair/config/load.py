"""Reading a config: YAML and overrides -> a checked Config, or an InputError that names the key's full path."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..text import code_of, lacks
from .hub_name import named
from .parse import apply_override, build, home, parse_yaml, require, show
from .schema import KINDS, Config, Source
from .shares import share_of, with_bounds

LONGEST = 1 << 20  # characters of a config


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Reads a YAML file, applies `key.sub=value` overrides, and checks everything.

    Raises InputError for an unreadable file, an unknown or missing key, or a value of the wrong kind.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise ValueError(f"it has more than {LONGEST:,} characters")
        tree = parse_yaml(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: is not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected keys and values at the top, found {show(tree)}.")
    for override in overrides:
        apply_override(tree, override)
    _drop_old_keys(tree)
    config: Config = build(Config, tree, "")
    config = replace(config, language=code_of(config.language))
    if not Path(config.model).is_dir():
        model, revision = named(config.model, config.revision)
        config = replace(config, model=model, revision=revision)
    if (reason := lacks(config.model, config.language)) is not None:
        raise InputError(f"language {config.language}: {reason}.")
    _check(config)
    config = replace(config, output=home(config.output))
    cache = str(Path(config.output) / "data") if config.data.cache is None else home(config.data.cache)
    return replace(config, data=replace(with_bounds(config.data), cache=cache))


def dump_config(config: Config) -> str:
    """The config as YAML, every default written out."""
    return str(yaml.safe_dump(config.resolved(), sort_keys=False, allow_unicode=True))


def _drop_old_keys(tree: dict[str, Any]) -> None:
    """Drops `cache_top_k` at its default, which resolved configs of an older version hold; another value is refused."""
    distill = tree.get("distill")
    if not isinstance(distill, dict) or "cache_top_k" not in distill:
        return
    k = distill.pop("cache_top_k")
    if k != 32:
        raise InputError(
            "distill.cache_top_k: is now distill.teacher_tokens, which says what is learned from, cached or not: "
            f"{show(k)} for the {show(k)} most likely tokens, all for the whole distribution."
        )


def _check(config: Config) -> None:
    """Checks what types and bounds alone cannot."""
    for split in ("train", "validation", "test"):
        sources = getattr(config.data, split)
        if split == "test" or config.makes_assistant:  # what is only evaluated needs no other speech
            require(len(sources) > 0, f"data.{split}", "at least one source", [])
        for i, source in enumerate(sources):
            _check_source(source, split, f"data.{split}.{i}")
    slow, fast = config.data.min_characters_per_second, config.data.max_characters_per_second
    require(slow < fast, "data.max_characters_per_second", f"more than min_characters_per_second, {slow}", fast)
    distill, losses = config.distill, config.distill.losses
    trained = losses.cross_entropy > 0 or losses.first_three > 0 or losses.divergences
    require(trained, "distill.losses", "a weight above 0 for one of them", 0)
    if config.train is not None and config.train.cache_encoder:
        settled = config.train.encoder_is_frozen and config.train.spec_augment is None
        settled = settled and config.train.short_windows is None
        wanted = "false, since states are only kept of a frozen encoder without spec_augment or short_windows"
        require(settled, "train.cache_encoder", wanted, True)
    if config.train is not None and config.train.short_windows is not None:
        margin = config.train.short_windows.margin
        rising = len(margin) == 2 and margin[0] <= margin[1]
        require(rising, "train.short_windows.margin", "the least and the most seconds", list(margin))
    layers = distill.layers
    if isinstance(layers, tuple):
        rising = len(layers) > 0 and all(a < b for a, b in itertools.pairwise(layers))
        require(rising, "distill.layers", "layer indices in rising order", list(layers))
    foreign = config.eval.assistant is None or config.train is None
    require(foreign, "eval.assistant", "null where the config trains a main of its own", config.eval.assistant)
    alone = not config.eval.main_alone or (config.eval.assistant is None and config.train is None)
    require(alone, "eval.main_alone", "false where there is an assistant or a main to train", config.eval.main_alone)
    for name in ("draft_tokens", "batch_sizes"):
        require(len(getattr(config.eval, name)) > 0, f"eval.{name}", "a list that is not empty", [])


def _check_source(source: Source, split: str, path: str) -> None:
    given = [kind for kind in KINDS if getattr(source, kind)]
    if len(given) != 1:
        wanted = f"{', '.join(KINDS[:-1])} and {KINDS[-1]}"
        raise InputError(f"{path}: expected exactly one of {wanted}, found {' and '.join(given) or 'none'}.")
    of = {
        "config": ("hub",),
        "revision": ("hub",),
        "stream": ("hub", "parquet"),
        "root": ("corpus", "manifest"),
    }
    for key in (key for key, kinds in of.items() if getattr(source, key) and source.kind not in kinds):
        wanted = f"it only beside {' or '.join(of[key])}"
        require(False, f"{path}.{key}", wanted, getattr(source, key))
    _check_split(source, f"{path}.split")
    restored = not source.restore_style or (split == "train" and source.text is not None)
    require(restored, f"{path}.restore_style", "true only in data.train, beside a text", True)
    if split != "train":
        require(source.text is not None, f"{path}.text", "a column with the human text to score by", None)


def _check_split(source: Source, path: str) -> None:
    share = share_of(source.split)
    if share is not None:
        require(0 <= share[0] < share[1] <= 1, path, "bounds that rise, from 0% to 100%", source.split)
        require(not source.stream, path, "a named split, since a stream cannot be divided", source.split)
    elif source.split != Source.split:
        require(source.kind in ("hub", "corpus"), path, "a name only beside hub or corpus", source.split)
