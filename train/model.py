"""Which of the main's weights are trained, and the loss over them."""

import copy

from torch import Tensor, nn

from whisper_pair.config import Train
from whisper_pair.errors import InputError
from whisper_pair.losses import IGNORE, cross_entropy


def choose_parameters(model, settings: Train):
    """Leaves gradients on for what the settings train; with LoRA, returns the model with adapters put in."""
    model.requires_grad_(settings.parameters == "all")
    model.model.encoder.embed_positions.requires_grad_(False)  # sinusoids, never trained
    if settings.parameters == "decoder":
        model.model.decoder.requires_grad_(True)
    if settings.parameters == "lora":
        return _with_adapters(model, settings)
    return model


def _with_adapters(model, settings: Train):
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


def merged(model, settings: Train):
    """A stock model with the adapters folded into its weights; the model itself where there are none."""
    if settings.parameters != "lora":
        return model
    from peft.tuners.lora import LoraLayer

    stock = copy.deepcopy(model)
    for name, module in list(stock.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(stock.get_submodule(parent), child, module.get_base_layer())
    return stock.eval()


class TranscriptLoss(nn.Module):
    """Cross-entropy on the human text, summed over tokens.

    Holds what is trained and nothing else, so that accelerate wraps and saves just that: the decoder, and the encoder
    only where it is trained too.
    """

    def __init__(self, model, settings: Train):
        super().__init__()
        self.encoder = None if settings.encoder_is_frozen else model.model.encoder
        self.decoder = model.model.decoder
        self.head = model.proj_out  # tied to the decoder's embeddings

    def forward(self, heard: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """heard: encoder states [rows, frames, width], or log-mel [rows, mel, frames] where the encoder is trained;
        inputs and labels [rows, tokens]."""
        states = heard if self.encoder is None else self.encoder(heard).last_hidden_state
        hidden = self.decoder(input_ids=inputs, encoder_hidden_states=states, use_cache=False).last_hidden_state
        counted = labels != IGNORE
        return cross_entropy(hidden[counted], self.head.weight, labels[counted])
