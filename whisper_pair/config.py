"""One YAML file describes a pair: what is trained, on which speech, how, and how it is judged.

The schema is the dataclasses below; every key of a config is a field here, with its default and its reason. Nothing
heavy is imported, so a mistake is answered at once: `load_config` names the key's full path and what was expected.
"""

import dataclasses
import difflib
import itertools
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml

from .errors import InputError


class Bound(NamedTuple):
    """What a number's type cannot say."""

    expected: str
    holds: Callable[[float], bool]


Positive = Annotated[float, Bound("a number above 0", lambda x: x > 0)]
NotNegative = Annotated[float, Bound("a number of at least 0", lambda x: x >= 0)]
Share = Annotated[float, Bound("a share from 0 to 1", lambda x: 0 <= x <= 1)]
Count = Annotated[int, Bound("a whole number above 0", lambda n: n > 0)]
CountOrZero = Annotated[int, Bound("a whole number of at least 0", lambda n: n >= 0)]
DraftLength = Annotated[int, Bound("a whole number from 1 to 16", lambda n: 1 <= n <= 16)]
Name = Annotated[str, Bound("text that is not empty", lambda text: bool(text.strip()))]


KINDS = ("folder", "hub", "parquet", "webdataset", "manifest")


@dataclass(frozen=True)
class Source:
    """One corpus: exactly one of the five KINDS."""

    folder: str | None = None  # audio files beside a metadata.csv, .jsonl or .parquet; with text: null, audio alone
    hub: str | None = None  # a data set on the Hugging Face Hub
    parquet: str | None = None  # Parquet files with the audio inside: a file, a folder or a pattern such as a/*.parquet
    webdataset: str | None = None  # tar files of audio with .txt or .json beside each: a file, a folder or a pattern
    manifest: str | None = None  # a CSV or JSONL file that names audio files
    root: str | None = None  # the folder that a manifest's paths must lie in; null: the manifest's own
    config: str | None = None  # the Hub data set's configuration, usually the language
    split: str = "train"  # the Hub data set's split
    revision: str | None = None  # a branch, tag or commit of the Hub data set
    stream: bool = False  # hub, parquet: read once, in order, into 16 kHz FLAC under data.cache; no other copy is kept
    audio: str = "audio"  # the column with the audio or its path (a folder's is always file_name)
    text: str | None = "text"  # the column with the transcript; null: speech without text, for distillation alone
    speaker: str | None = None  # the column that names speaker or recording; packing never joins across it
    weight: Positive = 1.0  # 0.25: a seeded quarter of the clips; 3: every window three times an epoch

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind))

    @property
    def name(self) -> str:
        return f"{self.hub}{f'/{self.config}' if self.config else ''}:{self.split}" if self.hub else self.path

    @property
    def path(self) -> str:
        return getattr(self, self.kind)


@dataclass(frozen=True)
class Data:
    train: tuple[Source, ...]
    validation: tuple[Source, ...]
    test: tuple[Source, ...]
    cache: str | None = None  # what one pass over the audio found, and streamed audio; null: OUTPUT/data
    min_seconds: NotNegative = 0.1  # shorter clips are dropped from training
    min_characters_per_second: NotNegative = 0.3  # below: the text is another clip's, or most of it is missing
    max_characters_per_second: Positive = 50.0  # above: the same; the fastest speakers stay under 30
    long_audio: Literal["drop", "split"] = "drop"  # training clips over the window; split: the pieces lose their text
    long_test_audio: Literal["refuse", "drop"] = "refuse"  # the same in validation and test; drop is counted and said
    pack: bool = True  # join a speaker's clips into full windows; Whisper pays for 30 s whatever they hold
    pack_gap: NotNegative = 0.3  # seconds of silence between two joined clips
    unpacked_share: Share = 0.1  # share of the clips that also stand alone in a window, as test clips do
    timestamps: Share = 0.0  # share of the windows whose target has timestamp tokens where its clips begin and end
    previous_text: Share = 0.0  # share of the windows prompted with what their speaker said before (needs speaker)
    workers: CountOrZero = 2  # processes that read audio, per training process


@dataclass(frozen=True)
class SpecAugment:
    """Masks over the log-mel spectrogram while training (1904.08779); never saved with the model."""

    time_masks: CountOrZero = 2
    time_width: CountOrZero = 100  # longest mask, in 10 ms frames
    mel_masks: CountOrZero = 2
    mel_width: CountOrZero = 20  # widest mask, in mel bins


@dataclass(frozen=True)
class Lora:
    rank: Count = 32
    alpha: Count = 64
    dropout: Share = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
    encoder: bool = False  # adapt the encoder too; the assistant is then built on the finished main's encoder


@dataclass(frozen=True)
class Optimization:
    """What both training stages take."""

    epochs: Positive = 3.0
    batch_size: Count = 16  # windows per process and micro-batch
    accumulation: Count = 1  # micro-batches per step
    learning_rate: Positive = 1e-5
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: Share = 0.1  # share of all steps over which the learning rate rises
    weight_decay: NotNegative = 0.0
    max_grad_norm: Positive = 1.0
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"  # autocast; weights and optimizer stay float32
    gradient_checkpointing: bool = False
    cache_encoder: bool = False  # keep a frozen encoder's states on disk: 1.5 MB a window for base, 3.8 MB for large-v3
    evaluations: Count = 4  # validations over the whole run, the last one at its end
    checkpoints: CountOrZero = 4  # resumable states saved over the whole run


@dataclass(frozen=True)
class Train(Optimization):
    """Stage 1: fine-tune the main."""

    parameters: Literal["decoder", "all", "lora"] = "decoder"  # decoder: the encoder stays as it was
    lora: Lora = field(default_factory=Lora)
    spec_augment: SpecAugment | None = None

    @property
    def encoder_is_frozen(self) -> bool:
        return self.parameters == "decoder" or (self.parameters == "lora" and not self.lora.encoder)


@dataclass(frozen=True)
class Distill(Optimization):
    """Stage 2: label with the main, then train the assistant on what the main says."""

    epochs: Positive = 10.0
    learning_rate: Positive = 3e-4
    layers: Count | tuple[CountOrZero, ...] = 2  # how many of the main's decoder layers, evenly spaced, or which
    cross_entropy: NotNegative = 1.0  # weight of the loss on the main's tokens
    kl: NotNegative = 1.0  # weight of the Kullback-Leibler divergence from the main's distribution
    temperature: Positive = 1.0  # softens both distributions in the divergence
    train_embeddings: bool = False  # off: the embeddings stay the main's and cost no memory beside it
    label_batch_size: Count = 16
    max_label_error: NotNegative | None = None  # drop clips whose WER (CER) to the human text is above; null: keep all
    max_compression_ratio: Positive | None = 2.4  # drop labels that zlib shrinks further: loops (Whisper's own bound)
    max_repeats: Count | None = 4  # drop labels that say a phrase of 1 to 5 words (4 to 20 characters) more in a row
    max_tokens_per_second: Positive | None = 50.0  # drop labels with more; Hindi, of many tokens a word, stays under 30


@dataclass(frozen=True)
class Eval:
    """Stage 3: what the pair is worth on this machine."""

    draft_tokens: tuple[DraftLength, ...] = (
        1,
        2,
        3,
        4,
        5,
        6,
        8,
        10,
        12,
        16,
    )  # lengths for which acceptance is reported
    batch_sizes: tuple[Count, ...] = (1, 8)  # batch sizes that are timed
    repeats: Count = 3  # timed passes over the timed clips, contenders interleaved
    timed_clips: Count = 24  # test clips that are timed; acceptance and quality use them all
    compare: tuple[str, ...] = ()  # other assistants (checkpoints) measured beside ours
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


@dataclass(frozen=True)
class Config:
    language: Name  # Whisper's code: nl, de, ...
    model: Name  # the Whisper checkpoint to start from: a Hub id or a folder
    output: Name  # the folder that receives everything
    data: Data
    revision: str | None = None  # of the checkpoint on the Hub
    task: Literal["transcribe", "translate"] = "transcribe"
    seed: int = 0
    tracker: Literal["none", "wandb", "tensorboard", "trackio"] = "none"
    train: Train | None = field(default_factory=Train)  # null: the checkpoint is the main as it stands
    distill: Distill = field(default_factory=Distill)
    eval: Eval = field(default_factory=Eval)

    def resolved(self) -> dict[str, Any]:
        """This config as plain YAML types, every default written out."""
        return _plain(self)


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Reads a YAML file, applies `key.sub=value` overrides, and checks everything.

    Raises InputError for an unreadable file, an unknown or missing key, or a value of the wrong kind.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(tree, dict):
        raise InputError(f"{path}: expected keys and values at the top, found {_show(tree)}.")
    for override in overrides:
        _apply_override(tree, override)
    config = _build(Config, tree, "")
    _check(config)
    if config.data.cache is None:
        data = dataclasses.replace(config.data, cache=str(Path(config.output) / "data"))
        config = dataclasses.replace(config, data=data)
    return config


def dump_config(config: Config) -> str:
    return yaml.safe_dump(config.resolved(), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _apply_override(tree: dict, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"{override}: expected an override of the form key.sub=value.")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{key}: {text!r} is not a YAML value.") from error
    *parents, last = key.split(".")
    node: Any = tree
    for depth, part in enumerate(parents):
        if isinstance(node, list):
            node = node[_list_index(node, part, ".".join(parents[:depth]))]
        elif isinstance(node, dict):
            node[part] = {} if node.get(part) is None else node[part]
            node = node[part]
        else:
            raise InputError(f"{key}: {'.'.join(parents[:depth])} is {_show(node)}, which has no key {part}.")
    if isinstance(node, list):
        node[_list_index(node, last, ".".join(parents))] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise InputError(f"{key}: {'.'.join(parents)} is {_show(node)}, which has no key {last}.")


def _list_index(items: list, part: str, path: str) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        raise InputError(f"{path}.{part}: expected an index from 0 to {len(items) - 1} into the list {path}.")
    return int(part)


def _build(kind: type, tree: Any, path: str) -> Any:
    """A dataclass from nested YAML; `path` is where in the config it stands."""
    if not isinstance(tree, Mapping):
        raise InputError(f"{path}: expected keys and values, found {_show(tree)}.")
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    prefix = f"{path}." if path else ""
    for key in tree:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.0)
            raise InputError(f"{prefix}{key}: unknown key; the nearest known one is {prefix}{near[0]}.")
    values = {}
    for name, spec in fields.items():
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if name in tree:
            values[name] = _convert(hints[name], tree[name], f"{prefix}{name}")
        elif required:
            raise InputError(f"{prefix}{name}: missing; expected {_expected(hints[name])}.")
    return kind(**values)


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        base, bound = args
        value = _convert(base, value, path)
        if not bound.holds(value):
            raise InputError(f"{path}: expected {bound.expected}, found {_show(value)}.")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        options = [option for option in args if option is not type(None)]
        chosen = next((o for o in options if _fits(o, value)), None)
        if chosen is None:
            raise InputError(f"{path}: expected {_expected(hint)}, found {_show(value)}.")
        return _convert(chosen, value, path)
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{path}: expected a list, found {_show(value)}.")
        return tuple(_convert(args[0], item, f"{path}.{i}") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, path)
    if hint is float:
        value = _number(value)
    if not _fits(hint, value):
        norwegian = " (Norwegian needs quotes: 'no')" if path == "language" and value is False else ""
        raise InputError(f"{path}: expected {_expected(hint)}, found {_show(value)}{norwegian}.")
    return value


def _number(value: Any) -> Any:
    """YAML 1.1 reads 3e-5, with no point, as text."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return value
    return value


def _fits(hint: Any, value: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint) and isinstance(value, str)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list)
    if dataclasses.is_dataclass(hint):
        return isinstance(value, Mapping)
    if hint is float:
        number = _number(value)
        return isinstance(number, float) and number == number and abs(number) != float("inf")
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _expected(hint: Any) -> str:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return args[1].expected
    if origin is Literal:
        return "one of " + ", ".join(args)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_expected(option) for option in args)
    if origin is tuple:
        return "a list"
    return names.get(hint, "keys and values")


def _show(value: Any) -> str:
    if value is None:
        return "null"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _require(condition: bool, path: str, expected: str, found: Any) -> None:
    if not condition:
        raise InputError(f"{path}: expected {expected}, found {_show(found)}.")


def _check(config: Config) -> None:
    """What types alone cannot say."""
    for split in ("train", "validation", "test"):
        sources = getattr(config.data, split)
        _require(len(sources) > 0, f"data.{split}", "at least one source", [])
        for i, source in enumerate(sources):
            path = f"data.{split}.{i}"
            given = [kind for kind in KINDS if getattr(source, kind)]
            if len(given) != 1:
                wanted = f"{', '.join(KINDS[:-1])} and {KINDS[-1]}"
                raise InputError(f"{path}: expected exactly one of {wanted}, found {' and '.join(given) or 'none'}.")
            of = {"config": ("hub",), "revision": ("hub",), "stream": ("hub", "parquet"), "root": ("manifest",)}
            for key in (key for key, kinds in of.items() if getattr(source, key) and source.kind not in kinds):
                wanted = f"it only beside {' or '.join(of[key])}"
                _require(False, f"{path}.{key}", wanted, getattr(source, key))
            if split != "train":
                _require(source.text is not None, f"{path}.text", "a column with the human text to score by", None)
    slow, fast = config.data.min_characters_per_second, config.data.max_characters_per_second
    _require(slow < fast, "data.max_characters_per_second", f"more than min_characters_per_second, {slow}", fast)
    distill = config.distill
    _require(distill.cross_entropy + distill.kl > 0, "distill.kl", "a loss: cross_entropy or kl above 0", distill.kl)
    if config.train is not None and config.train.cache_encoder:
        settled = config.train.encoder_is_frozen and config.train.spec_augment is None
        wanted = "false, since states are only kept of a frozen encoder without spec_augment"
        _require(settled, "train.cache_encoder", wanted, True)
    layers = distill.layers
    if isinstance(layers, tuple):
        rising = len(layers) > 0 and all(a < b for a, b in itertools.pairwise(layers))
        _require(rising, "distill.layers", "layer indices in rising order", list(layers))
    for name in ("draft_tokens", "batch_sizes"):
        _require(len(getattr(config.eval, name)) > 0, f"eval.{name}", "a list that is not empty", [])
