"""Gathers weights that FSDP2 shards.

Each process holds a share of each trained weight. Decoding and checkpoints need all of it, so at each validation the
weights are gathered, on every process, into a plain model beside the one that is trained, whose layers gather and drop
their weights by hooks of their own. What is not trained is never sharded, and both models share it.
"""

import copy
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError


def prepared(accelerator, module: nn.Module, optimizer):
    """accelerate's prepare, by which FSDP2 shards what is trained and leaves the rest whole."""
    if accelerator.is_fsdp2:
        frozen = [part for part in module.modules() if not any(p.requires_grad for p in part.parameters())]
        accelerator.state.fsdp_plugin.ignored_modules = frozen
        # autocast over float32 weights, as under every other launcher, in place of a copy in the lower precision
        accelerator.state.fsdp_plugin.mixed_precision_policy = None
    return accelerator.prepare(module, optimizer)


def gathered_model(accelerator, model) -> Any:
    """The model itself where no launcher shards its weights. All processes call it together."""
    if not is_sharded(accelerator):
        return model
    return model_with_weights(model, gathered_weights(model))


def is_sharded(accelerator) -> bool:
    """Whether the launcher shards weights."""
    return accelerator.is_fsdp2


def gathered_weights(model) -> dict[str, Tensor]:
    """Name -> whole weight; tied weights are one tensor. All processes call it together."""
    whole = {id(p): _whole(p.detach()) for p in model.parameters()}
    return {name: whole[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}


def model_with_weights(model, weights: dict[str, Tensor]) -> Any:
    """A plain model like `model`, around these very tensors."""
    with torch.device("meta"):
        made = type(model)(copy.deepcopy(model.config))
    made.load_state_dict(weights, assign=True)
    made.tie_weights()
    made.generation_config = model.generation_config
    return made.requires_grad_(False).eval()


def norm_of(norm: Tensor | float) -> float:
    """A gradient's norm over all shards."""
    return float(_whole(norm) if isinstance(norm, Tensor) else norm)


def refuse_other_sharding(environment: Mapping[str, str] = os.environ) -> None:
    """Raises InputError for a launcher that shards weights in another way than FSDP2."""

    def asks(name: str) -> bool:
        return environment.get(name, "").lower() in ("true", "1", "yes")

    if asks("ACCELERATE_USE_FSDP") and environment.get("FSDP_VERSION", "1") != "2":
        raise InputError("fsdp_version: expected 2, found 1; see configs/accelerate/fsdp2.yaml.")
    for name in ("DEEPSPEED", "MEGATRON_LM"):
        if asks(f"ACCELERATE_USE_{name}"):
            raise InputError(
                f"distributed_type: {name} is not supported; configs/accelerate/fsdp2.yaml shards weights, gradients "
                "and optimizer state."
            )


def _whole(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
