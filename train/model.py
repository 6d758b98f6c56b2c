"""Which of the main's weights are trained, and the loss over them."""

from typing import Any

import torch
from torch import Tensor, nn

from whisper_pair.config import Train
from whisper_pair.decoding import encoder_states
from whisper_pair.errors import InputError
from whisper_pair.precision import frozen
from whisper_pair.training import gathered_model, gathered_weights, model_with_weights
from whisper_pair.training.losses import IGNORE, SummedLoss, cross_entropy


def placed(model: Any, settings: Train, dtype: torch.dtype, device: torch.device) -> tuple[Any, Any]:
    """The model, with what is trained on the device in float32, and the encoder that runs there, in `dtype` if frozen.

    The model's own copy of a frozen encoder then stays on the host, and is saved as it was.
    """
    encoder = model.model.encoder
    if not settings.encoder_is_frozen or dtype == torch.float32:
        return model.to(device), encoder
    model.model.decoder.to(device)
    model.proj_out.to(device)
    return model, frozen(encoder, dtype, device)


def choose_parameters(model: Any, settings: Train) -> Any:
    """Leaves gradients on for what the settings train; with LoRA, returns the model with adapters put in."""
    model.requires_grad_(settings.parameters == "all")
    model.model.encoder.embed_positions.requires_grad_(False)  # sinusoids, never trained
    if settings.parameters == "decoder":
        model.model.decoder.requires_grad_(True)
    if settings.parameters == "lora":
        return _with_adapters(model, settings)
    return model


def _with_adapters(model: Any, settings: Train) -> Any:
    from peft import LoraConfig, get_peft_model

    names = "|".join(settings.lora.targets)
    where = "(encoder|decoder)" if settings.lora.encoder else "decoder"
    config = LoraConfig(
        task_type=None,  # SEQ_2_SEQ_LM would call Whisper with input_ids
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=rf"model\.{where}\.layers\..*\.({names})",
    )
    try:
        return get_peft_model(model, config).base_model.model
    except ValueError as error:
        raise InputError(f"train.lora.targets: no layer of the main has a name among {names}.") from error


def stock(model: Any, settings: Train, accelerator: Any) -> Any:
    """A stock model of gathered weights, with the adapters merged; the model itself where it is one."""
    if settings.parameters != "lora":
        return gathered_model(accelerator, model)
    return model_with_weights(model, merged(model, gathered_weights(model)))


def merged(model: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """W + scaling B A (2106.09685) in place of each adapted weight, under its stock name."""
    from peft.tuners.lora import LoraLayer

    found = {name.replace(".base_layer.", "."): weight for name, weight in weights.items() if ".lora_" not in name}
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            a, b = (weights[f"{name}.lora_{part}.default.weight"] for part in "AB")
            found[f"{name}.weight"] = found[f"{name}.weight"] + (b @ a) * layer.scaling["default"]
    return found


class TranscriptLoss(nn.Module):
    """Cross-entropy on the human text, summed over tokens.

    Holds what is trained and nothing else, so that accelerate wraps and saves just that: the decoder, and the encoder
    only where it is trained too.
    """

    def __init__(self, model: Any, settings: Train):
        super().__init__()
        self.encoder = None if settings.encoder_is_frozen else model.model.encoder
        self.decoder = model.model.decoder
        self.head = model.proj_out  # tied to the decoder's embeddings

    def forward(self, audio_features: Tensor, inputs: Tensor, labels: Tensor) -> SummedLoss:
        """audio_features: encoder states [rows, frames, width], or log-mel spectrograms [rows, mel, frames] where the
        encoder is trained; inputs and labels [rows, tokens]."""
        states = audio_features if self.encoder is None else encoder_states(self.encoder, audio_features)
        hidden = self.decoder(input_ids=inputs, encoder_hidden_states=states, use_cache=False).last_hidden_state
        counted = labels != IGNORE
        return SummedLoss(cross_entropy(hidden[counted], self.head.weight, labels[counted]))
