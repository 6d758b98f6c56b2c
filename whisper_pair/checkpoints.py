"""Checkpoints: how they are found, loaded and proved to belong together.

`assistant/pair.json` names the main, the SHA-256 of the encoder's tensors and of the vocabulary, the layers taken and
the language. Loading a pair checks all of them before any audio is read: an assistant drafts for the main it was
distilled from, over that main's encoder and in that main's tokens, or it is refused.
"""

import contextlib
import copy
import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .bounds import check_extractor, check_model, check_weights
from .checkpoint_check import checked_processor, refuse_adapter
from .config import Config
from .download import fetch, named, shards_of, weight_files
from .errors import InputError
from .generation_config import completed, default_alignment_heads
from .runs import write_json

PAIR_FILE = "pair.json"
VERSION = 1  # of pair.json; it rises when a reader of the version before would take something wrongly
IN_CACHE = re.compile(r".*/models--([^/]+?)--([^/]+)/snapshots/([^/]+)/?")  # a main's place in the Hub's cache


@dataclass(frozen=True)
class Lineage:
    """What pair.json holds: what the assistant was built for."""

    main: str  # the main's folder, or its Hub id: what others find it by
    encoder_sha256: str
    vocabulary_sha256: str
    layers: tuple[int, ...]  # of the main's decoder
    language: str
    task: str
    main_revision: str | None = None  # the main's commit on the Hub, where it is not ours; null: any
    version: int = VERSION

    def save(self, folder: Path) -> None:
        """Whole or not at all."""
        write_json(folder / PAIR_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "Lineage | None":
        """None where the folder has no pair.json. Raises InputError for one that cannot be read.

        Keys that this version does not know are left unread: what changes the meaning of the others has a new version.
        """
        path = folder / PAIR_FILE
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            version = found.get("version", VERSION)
            if type(version) is int and version > VERSION:
                raise InputError(f"{path}: is of version {version}, and this Whisper Pair reads {VERSION}; upgrade it.")
            known = {field.name: found[field.name] for field in fields(cls) if field.name in found}
            lineage = cls(**known | {"layers": tuple(found["layers"])})
            if not lineage._is_well_formed():
                raise ValueError(found)
            return lineage._with_hub_id()
        except InputError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: is not a pair.json of this toolkit; distil the assistant again.") from error

    def _is_well_formed(self) -> bool:
        texts = (self.main, self.encoder_sha256, self.vocabulary_sha256, self.language, self.task)
        texts += () if self.main_revision is None else (self.main_revision,)
        numbers = (self.version, *self.layers)
        return all(isinstance(text, str) for text in texts) and all(type(number) is int for number in numbers)

    def _with_hub_id(self) -> "Lineage":
        """Early pair.json files name the folder in the Hub's cache of a main that is not ours."""
        found = IN_CACHE.fullmatch(self.main)
        return replace(self, main=f"{found[1]}/{found[2]}", main_revision=found[3]) if found else self


def origin(config: Config, folder: Path) -> tuple[str, str | None]:
    """The name by which others find a run's main, and its revision on the Hub; `folder` is where it lies here."""
    if config.train is not None or Path(config.model).is_dir():
        return str(folder), None
    return config.model, folder.name if folder.parent.name == "snapshots" else config.revision


def checkpoint_folder(name: str, revision: str | None = None) -> Path:
    """A checkpoint's folder: `name` itself where it is one, else the Hub's, fetched into the cache.

    On the Hub `name` is owner/name or owner/name@revision.

    Raises InputError for a checkpoint that is not there or has no safetensors weights.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = hub_folder(name, revision)
    refuse_adapter(folder)
    if not (folder / "config.json").is_file():
        raise InputError(f"{name}: holds no config.json, so it is not a checkpoint.")
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{name}: holds no .safetensors weights; other formats can run code and are not read.")
    for index in folder.glob("*.index.json"):
        shards_of(index)
    return folder


def main_folder(config: Config) -> Path:
    """The finished main of a run: stage 1's, or the checkpoint itself where nothing is fine-tuned."""
    if config.train is None:
        return checkpoint_folder(config.model, config.revision)
    folder = Path(config.output) / "main"
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: the fine-tuned main is not there yet; first: whisper-pair train CONFIG.")
    return folder


def hub_folder(name: str, revision: str | None = None) -> Path:
    """One set of a repository's weights, and its settings, in the Hub's cache; `name` may end in @revision.

    Raises InputError where the Hub does not give them.
    """
    name, revision = named(name, revision)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise InputError(f"{name}: there is no such folder, and it is no Hub id of the form owner/name.")
    try:
        return fetch(name, revision)
    except InputError:
        raise
    except Exception as error:  # many kinds; the user needs the one sentence
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: is no local folder, and the Hub did not give it ({reason}).") from error


def read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = config["model_type"]
        shapes = [config["vocab_size"], config["d_model"]] if kind == "whisper" else []
        if not all(isinstance(size, int) and size > 0 for size in shapes):
            raise ValueError(shapes)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{folder}/config.json: cannot be read as a model's configuration.") from error
    if kind != "whisper":
        raise InputError(f"{folder}: is a {kind} model; only Whisper checkpoints can be paired.")
    check_model(config, folder / "config.json")
    return config


def is_decoder_only(config: dict[str, Any]) -> bool:
    return config.get("architectures") == ["WhisperForCausalLM"]


def load_main(folder: Path, dtype, device="cpu"):
    """A complete Whisper in eval mode, whatever its stored type in the torch `dtype` that is named.

    A decoder alone is refused: it would get a random encoder in silence.
    """
    from transformers import WhisperForConditionalGeneration

    if is_decoder_only(read_config(folder)):
        raise InputError(f"{folder}: is a decoder alone, without an encoder; it can only be an assistant.")
    generation_config = completed(folder, load_processor(folder).tokenizer)  # before the weights, which take long
    model = _loaded(WhisperForConditionalGeneration, folder, dtype)
    model.generation_config = generation_config
    if getattr(model.config, "forced_decoder_ids", None):  # of 2022; transformers would go by it before all else
        model.config.forced_decoder_ids = None
    return model.to(device).eval()


def load_draft(folder: Path, dtype, device="cpu"):
    """An assistant in the torch `dtype` that is named: a decoder alone, or a Whisper with an encoder of its own."""
    from transformers import WhisperForCausalLM, WhisperForConditionalGeneration

    alone = is_decoder_only(read_config(folder))  # its tokens are the main's: it needs no tokenizer
    kind = WhisperForCausalLM if alone else WhisperForConditionalGeneration
    return _loaded(kind, folder, dtype).to(device).eval()


def _loaded(kind, folder: Path, dtype):
    """Weights from safetensors alone, and all of them: transformers would fill a missing one with chance."""
    from .precision import check_finite, stored_dtype

    config = read_config(folder)
    check_weights(config, folder, is_decoder_only(config))
    stored_dtype(folder)  # before a load that would take int8 for numbers
    try:
        with _quiet():
            model, found = kind.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    except Exception as error:  # damaged files raise many kinds
        if "out of memory" in str(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: its weights cannot be loaded ({type(error).__name__}: {reason}).") from error
    lacking = sorted({*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])})
    if lacking:
        more = f" and {len(lacking) - 1} more" if lacking[1:] else ""
        raise InputError(f"{folder}: its weights lack {lacking[0]}{more}; fetch or make the checkpoint anew.")
    check_finite(model, folder)
    return model


def load_processor(folder: Path):
    """Tokenizer and feature extractor. Raises InputError where they do not fit the checkpoint."""
    check_extractor(folder)
    return checked_processor(folder, read_config(folder))


def save_processor(processor, folder: Path) -> None:
    """With the spellings by which English texts are compared, which transformers reads and does not write."""
    processor.save_pretrained(folder)
    spelling = getattr(processor.tokenizer, "english_spelling_normalizer", None)
    if spelling:
        (folder / "normalizer.json").write_text(
            json.dumps(spelling, indent=1)
            + "\
",
            encoding="utf-8",
        )


@contextlib.contextmanager
def _quiet():
    """No bar for the loading of weights that takes a second."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def encoder_sha256(folder: Path) -> str:
    """Of the encoder's tensors as stored: names, dtypes, shapes and bytes, in the names' order."""
    import torch
    from safetensors import SafetensorError, safe_open

    digest = hashlib.sha256()
    where = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as tensors:
                where |= {name: file for name in tensors.keys() if name.startswith("model.encoder.")}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"{file}: cannot be read as safetensors ({error}).") from error
    if not where:
        raise InputError(f"{folder}: its weights hold no encoder.")
    for name in sorted(where):
        with safe_open(where[name], framework="pt") as tensors:
            tensor = tensors.get_tensor(name).contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.flatten().view(torch.uint8).numpy()))
    return digest.hexdigest()


def vocabulary_sha256(tokenizer) -> str:
    pairs = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    return hashlib.sha256(json.dumps(pairs, ensure_ascii=False).encode()).hexdigest()


def check_pair(main_folder: Path, assistant_folder: Path) -> Lineage | None:
    """Refuses an assistant that was not made for this main. Returns its lineage, None for a foreign assistant.

    A foreign assistant (no pair.json, say whisper-tiny) must share the vocabulary; a foreign decoder alone must also
    fit the encoder's width.
    """
    main, assistant = read_config(main_folder), read_config(assistant_folder)
    if main["vocab_size"] != assistant["vocab_size"]:
        raise InputError(
            f"{assistant_folder}: has {assistant['vocab_size']} tokens where the main {main_folder} has "
            f"{main['vocab_size']}; an assistant must share its main's vocabulary."
        )
    if is_decoder_only(assistant) and main["d_model"] != assistant["d_model"]:
        raise InputError(
            f"{assistant_folder}: is a decoder of width {assistant['d_model']}, but the encoder of {main_folder} gives "
            f"{main['d_model']}; a decoder-only assistant works over the main that it was cut from."
        )
    lineage = Lineage.load(assistant_folder)
    if lineage is None:
        return None
    found = encoder_sha256(main_folder)
    if found != lineage.encoder_sha256:
        raise InputError(
            f"{assistant_folder}: was distilled over another encoder (of {lineage.main}) than that of {main_folder}; "
            "use that main, or distil an assistant for this one."
        )
    if vocabulary_sha256(load_processor(main_folder).tokenizer) != lineage.vocabulary_sha256:
        raise InputError(
            f"{assistant_folder}: was distilled with another vocabulary than that of {main_folder}; "
            f"use the main that it was made for, {lineage.main}."
        )
    return lineage


def share_equal_embeddings(main, draft) -> None:
    """Lets the draft use the main's own embedding tensors where its copies are equal, so that they take no memory."""
    import torch

    ours, theirs = main.model.decoder, draft.model.decoder
    for name in ("embed_tokens", "embed_positions"):
        one, other = getattr(ours, name), getattr(theirs, name)
        if one.weight.shape == other.weight.shape and torch.equal(one.weight, other.weight):
            other.weight = one.weight
    if draft.config.tie_word_embeddings:
        draft.proj_out.weight = theirs.embed_tokens.weight


def complete(main, draft):
    """A decoder-only assistant with its main's encoder: a Whisper that can be used alone.

    Weights are shared, not copied. A complete Whisper is returned as it is.
    """
    import torch
    from transformers import WhisperForConditionalGeneration

    if isinstance(draft, WhisperForConditionalGeneration):
        return draft
    config = copy.deepcopy(main.config)
    config.decoder_layers = draft.config.decoder_layers
    with torch.device("meta"):  # nothing is allocated: every part is replaced
        whole = WhisperForConditionalGeneration(config)
    whole.model.encoder, whole.model.decoder, whole.proj_out = main.model.encoder, draft.model.decoder, draft.proj_out
    whole.generation_config = copy.deepcopy(main.generation_config)
    whole.generation_config.alignment_heads = default_alignment_heads(config)  # the main's are of other layers
    return whole.eval()
