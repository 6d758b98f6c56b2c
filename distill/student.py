"""The assistant: some of the main's decoder layers over the main's encoder."""

import copy
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from whisper_pair.checkpoints import check_pair, default_alignment_heads, read_config
from whisper_pair.config import Distill
from whisper_pair.errors import InputError
from whisper_pair.training.losses import (
    IGNORE,
    SummedLoss,
    TeacherTargets,
    mismatch_weights,
    mixed_loss,
    top_tokens,
)


def chosen_layers(wanted: int | tuple[int, ...], available: int) -> tuple[int, ...]:
    """Which of the main's layers the assistant starts from: evenly spaced, with the first and the last, or as listed.

    Raises InputError for more layers than the main has.
    """
    if isinstance(wanted, tuple):
        if wanted[-1] >= available:
            raise InputError(f"distill.layers: the main has layers 0 to {available - 1}, not {wanted[-1]}.")
        return wanted
    if wanted > available:
        raise InputError(f"distill.layers: the main has {available} decoder layers, not {wanted}.")
    if wanted == 1:
        return (0,)
    return tuple(round(i * (available - 1) / (wanted - 1)) for i in range(wanted))


def build_student(main: Any, layers: tuple[int, ...], start: Any = None, with_its_embeddings: bool = False) -> Any:
    """A WhisperForCausalLM with copies of the main's `layers` and its embeddings and final norm.

    `start`: an assistant with as many layers, whose layers and final norm are taken instead, and its embeddings where
    they are to be trained.
    """
    from transformers import WhisperForCausalLM

    config = copy.deepcopy(main.config)  # WhisperForCausalLM writes into the one that it is given
    config.decoder_layers = len(layers)
    student = WhisperForCausalLM(config)
    source, target = main.model.decoder, student.model.decoder
    target.embed_tokens.load_state_dict(source.embed_tokens.state_dict())
    target.embed_positions.load_state_dict(source.embed_positions.state_dict())
    target.layer_norm.load_state_dict(source.layer_norm.state_dict())
    for layer, copied in zip(target.layers, layers, strict=True):
        layer.load_state_dict(source.layers[copied].state_dict())
    if start is not None:
        target.layers.load_state_dict(start.model.decoder.layers.state_dict())
        target.layer_norm.load_state_dict(start.model.decoder.layer_norm.state_dict())
        if with_its_embeddings:
            target.embed_tokens.load_state_dict(start.model.decoder.embed_tokens.state_dict())
            target.embed_positions.load_state_dict(start.model.decoder.embed_positions.state_dict())
    generation_config: Any = copy.deepcopy(main.generation_config)
    generation_config._from_model_config = False
    generation_config.alignment_heads = default_alignment_heads(config)  # the main's are of other layers
    student.generation_config = generation_config
    return student.to(main.device)


def check_start(folder: Path, main: Path, layers: tuple[int, ...]) -> None:
    """Raises InputError for an assistant whose weights the student cannot start from."""
    check_pair(main, folder)
    found, wanted = read_config(folder), read_config(main) | {"decoder_layers": len(layers)}
    for key in ("decoder_layers", "d_model", "decoder_attention_heads", "decoder_ffn_dim", "max_target_positions"):
        if found[key] != wanted[key]:
            raise InputError(f"distill.start: {folder} has {key} {found[key]}, the student {wanted[key]}.")


class DistillationLoss(nn.Module):
    """The configured mix of losses against the main's tokens and distribution, summed over tokens.

    Holds the student alone. With `train_embeddings` off its embeddings are frozen, so they stay the main's.
    """

    def __init__(self, student: Any, settings: Distill):
        super().__init__()
        self.decoder, self.head = student.model.decoder, student.proj_out
        self.decoder.embed_tokens.requires_grad_(settings.train_embeddings)
        self.decoder.embed_positions.requires_grad_(settings.train_embeddings)
        self.losses = settings.losses

    def forward(self, audio_features: Tensor, inputs: Tensor, labels: Tensor, teacher: TeacherTargets) -> SummedLoss:
        """The loss summed over the counted tokens, with its parts.

        audio_features [rows, frames, width]; inputs, labels [rows, tokens]; teacher: targets of the counted tokens.
        """
        hidden = self.decoder(input_ids=inputs, encoder_hidden_states=audio_features, use_cache=False).last_hidden_state
        counted = labels != IGNORE
        hidden, head, wanted = hidden[counted], self.head.weight, labels[counted]
        weights = None
        if self.losses.mismatch_decay < 1:
            begins = counted & (counted.cumsum(1) == 1)
            weights = mismatch_weights(top_tokens(hidden, head) == wanted, begins[counted], self.losses.mismatch_decay)
        return mixed_loss(hidden, head, wanted, teacher, self.losses, weights)
