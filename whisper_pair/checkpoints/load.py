"""Loading checkpoints: only safetensors, every weight present, in the requested type."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from .bounds import check_extractor, check_model, check_weights
from .check import checked_processor
from .generation_config import completed, default_alignment_heads
from .other_tools import write_for_other_tools


def read_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's config.json. Raises InputError for one that is unreadable or no Whisper's."""
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
    """Whether a checkpoint holds a decoder without an encoder: an assistant of ours."""
    return config.get("architectures") == ["WhisperForCausalLM"]


def load_main(folder: Path, dtype=None, device="cpu"):
    """A complete Whisper in eval mode, in the torch `dtype` whatever it is stored in; None: float32.

    A decoder alone is refused: transformers would silently give it a random encoder.
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


def load_draft(folder: Path, dtype=None, device="cpu"):
    """An assistant in the torch `dtype` (None: float32): a decoder alone, or a Whisper with an encoder of its own."""
    from transformers import WhisperForCausalLM, WhisperForConditionalGeneration

    alone = is_decoder_only(read_config(folder))  # its tokens are the main's: it needs no tokenizer
    kind = WhisperForCausalLM if alone else WhisperForConditionalGeneration
    return _loaded(kind, folder, dtype).to(device).eval()


def _loaded(kind, folder: Path, dtype):
    """Weights from safetensors only, and all of them: transformers would fill a missing one with random values."""
    import torch

    from ..precision import check_finite, stored_dtype

    config = read_config(folder)
    check_weights(config, folder, is_decoder_only(config))
    stored_dtype(folder)  # before a load that would take int8 for numbers
    try:
        with quiet():
            model, found = kind.from_pretrained(
                folder,
                dtype=dtype or torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # damaged files raise many kinds
        if "out of memory" in str(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: its weights cannot be loaded ({type(error).__name__}: {reason}).") from error
    lacking = sorted({*found["missing_keys"], *(name for name, *_ in found["mismatched_keys"])})
    if lacking:
        more = f" and {len(lacking) - 1} more" if lacking[1:] else ""
        raise InputError(f"{folder}: its weights lack {lacking[0]}{more}; fetch or make the checkpoint again.")
    check_finite(model, folder)
    return model


def load_processor(folder: Path):
    """Tokenizer and feature extractor. Raises InputError where they do not fit the checkpoint."""
    check_extractor(folder)
    return checked_processor(folder, read_config(folder))


def save_model(model, folder: Path) -> None:
    """A stock checkpoint's weights and configurations."""
    with quiet():
        model.save_pretrained(folder)


def save_processor(processor, folder: Path) -> None:
    """Tokenizer and feature extractor, as transformers writes them and as other tools read them."""
    processor.save_pretrained(folder)
    write_for_other_tools(processor, folder)


@contextlib.contextmanager
def quiet():
    """No bar for weights that take a second to load or to save."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


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


def standalone_assistant(main, draft):
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
