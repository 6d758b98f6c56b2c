"""Whether a main and an assistant belong together, proved before any audio is read.

An assistant drafts for the main it was distilled from, over that main's encoder and in that main's tokens, or it is
refused: pair.json holds the SHA-256 of both.
"""

import hashlib
import json
import logging
from pathlib import Path

from ..errors import InputError
from ..runs import file_digest
from .capabilities import CAPABILITIES_FILE, Capabilities, ShortWindows
from .download import weight_files
from .load import is_decoder_only, load_processor, read_config
from .manifest import PAIR_FILE, PairManifest

logger = logging.getLogger(__name__)


def weight_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of weights in a folder, by its name: which checkpoint it is."""
    return {file.name: file_digest(file) for file in sorted(folder.glob("*.safetensors"))}


def encoder_sha256(folder: Path) -> str:
    """Of the encoder's tensors as stored: names, dtypes, shapes and bytes, in the names' order."""
    import torch
    from safetensors import SafetensorError, safe_open

    digest = hashlib.sha256()
    where: dict[str, Path] = {}
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
    """Of a tokenizer's (token, id) pairs, in the order of the ids."""
    pairs = sorted(tokenizer.get_vocab().items(), key=lambda item: (item[1], item[0]))
    return hashlib.sha256(json.dumps(pairs, ensure_ascii=False).encode()).hexdigest()


def check_pair(main_folder: Path, assistant_folder: Path) -> PairManifest | None:
    """Refuses an assistant that was not made for this main. Returns its manifest, None for a foreign assistant.

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
    manifest = PairManifest.load(assistant_folder)
    if manifest is None:
        return None
    found = encoder_sha256(main_folder)
    if found != manifest.encoder_sha256:
        raise InputError(
            f"{assistant_folder}: was distilled over another encoder (of {manifest.main}) than that of {main_folder}; "
            "use that main, or distil an assistant for this one."
        )
    if vocabulary_sha256(load_processor(main_folder).tokenizer) != manifest.vocabulary_sha256:
        raise InputError(
            f"{assistant_folder}: was distilled with another vocabulary than that of {main_folder}; "
            f"use the main that it was made for, {manifest.main}."
        )
    trained = Capabilities.load(main_folder)
    if trained is not None and _windows(trained.short_windows) != _windows(manifest.short_windows):
        logger.warning(
            "%s: was distilled on windows %s, and %s has its main decode windows %s, so fewer drafts may be accepted; "
            "distil the assistant again",
            assistant_folder / PAIR_FILE, _windows(manifest.short_windows),
            main_folder / CAPABILITIES_FILE, _windows(trained.short_windows),
        )  # fmt: skip
    return manifest


def _windows(short: ShortWindows | None) -> str:
    """In words: as decoding takes them."""
    return "of full length" if short is None else f"that end {short.margin:g} s after their speech"
