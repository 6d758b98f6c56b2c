"""Weights that the launcher shards, whole again: FSDP2 and DeepSpeed ZeRO-3.

Such a process holds a share of each trained weight. Decoding and checkpoints need all of it, so at each validation the
weights are gathered, on every process, into a plain model beside the one that is trained: the wrapped one's layers
gather and drop their weights by hooks of their own. What is not trained is never sharded and is shared by both models.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .errors import InputError


def prepared(accelerator, module: nn.Module, optimizer):
    """accelerate's prepare, by which FSDP2 shards what is trained and leaves the rest whole."""
    if accelerator.is_fsdp2:
        frozen = [part for part in module.modules() if not any(p.requires_grad for p in part.parameters())]
        accelerator.state.fsdp_plugin.ignored_modules = frozen
        # autocast over float32 weights, as under every other launcher, in place of a copy in the lower precision
        accelerator.state.fsdp_plugin.mixed_precision_policy = None
    return accelerator.prepare(module, optimizer)


def whole_model(accelerator, model) -> Any:
    """The model itself where no launcher shards its weights. All processes call it together."""
    if not is_sharded(accelerator):
        return model
    return with_weights(model, whole_weights(accelerator, model))


def is_sharded(accelerator) -> bool:
    return accelerator.is_fsdp2 or _zero_stage(accelerator) == 3


def whole_weights(accelerator, model) -> dict[str, Tensor]:
    """Name -> whole weight; tied weights are one tensor. All processes call it together."""
    parameters = list(model.parameters())
    if _zero_stage(accelerator) == 3:
        from deepspeed.zero import GatheredParameters

        shared = [p for p in parameters if hasattr(p, "ds_id")]  # the frozen encoder's are not
        with GatheredParameters(shared):
            whole = {id(p): p.detach().float().clone() if hasattr(p, "ds_id") else p.detach() for p in parameters}
    else:
        whole = {id(p): _whole(p.detach()) for p in parameters}
    return {name: whole[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}


def with_weights(model, weights: dict[str, Tensor]) -> Any:
    """A plain model like `model`, around these very tensors."""
    with torch.device("meta"):
        made = type(model)(copy.deepcopy(model.config))
    made.load_state_dict(weights, assign=True)
    made.tie_weights()
    made.generation_config = model.generation_config
    return made.requires_grad_(False).eval()


def norm_of(norm: Tensor | float | None) -> float:
    """A gradient's norm over all shards; DeepSpeed tells none before its first step."""
    return 0.0 if norm is None else float(_whole(norm) if isinstance(norm, Tensor) else norm)


def refuse_old_sharding(accelerator) -> None:
    """Raises InputError at the start for FSDP's first version, whose weights are flattened."""
    if accelerator.distributed_type == "FSDP" and not accelerator.is_fsdp2:
        raise InputError("fsdp_version: expected 2, found 1; see configs/accelerate/fsdp2.yaml.")


def _whole(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _zero_stage(accelerator) -> int | None:
    plugin = accelerator.state.deepspeed_plugin
    return plugin and plugin.zero_stage
