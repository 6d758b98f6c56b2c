"""Half precision for what is frozen, float32 for what is trained, and the stored type for what is saved.

Whatever the type in which a checkpoint is stored, its trained weights and their optimizer are float32. Frozen models
(the main that labels, validates and teaches, an encoder that is not trained) run in the stage's `precision`, whose
`auto` is bf16 on a GPU that has it, otherwise fp16, and fp32 on a CPU: their weights are cast once, without autocast.
What a stage saves has the type of the checkpoint that it came from, unless its `save_dtype` asks for another.
"""

import copy
import logging
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Model = TypeVar("Model", bound=nn.Module)
logger = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
STORED = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}  # safetensors' names


def resolved(precision: str, device: torch.device | str, key: str = "precision", trains: bool = False) -> str:
    """fp32, bf16 or fp16: `auto` by what the device has. `key` is in messages; `trains`: under autocast too.

    Raises InputError for a precision that the device lacks.
    """
    device = torch.device(device)
    on_gpu = device.type == "cuda"
    has_bf16 = not on_gpu or torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    if precision == "auto":
        return ("bf16" if has_bf16 else "fp16") if on_gpu else "fp32"
    if precision == "bf16" and not has_bf16:
        raise InputError(f"{key}: {torch.cuda.get_device_name(device)} has no bf16; take fp16, fp32 or auto.")
    if precision == "fp16" and trains and not on_gpu:
        raise InputError(f"{key}: fp16 trains on a GPU alone, and this is a {device.type}; take fp32, bf16 or auto.")
    return precision


def stored_dtype(folder: Path) -> torch.dtype:
    """The type in which a checkpoint's weights are stored; float32 where they have several.

    Raises InputError for weights that can be neither trained nor run here, such as int8 or fp8.
    """
    found: dict[str, str] = {}  # type -> a weight of it
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as tensors:
                found |= {tensors.get_slice(name).get_dtype(): name for name in tensors.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError(f"{folder}: {file.name} cannot be read as safetensors ({error}).") from error
    for kind, name in found.items():
        if kind not in STORED:
            raise InputError(
                f"{folder}: {name} is stored as {kind}, which can be neither trained nor run here; take the "
                "checkpoint's float16, bfloat16 or float32 weights."
            )
    return STORED[found.popitem()[0]] if len(found) == 1 else torch.float32


def saved_dtype(save_dtype: str | None, ancestor: Path) -> torch.dtype:
    """The type in which a stage saves what it trained from `ancestor`."""
    return stored_dtype(ancestor) if save_dtype is None else DTYPES[save_dtype]


def refuse_other_type(finished: Path, save_dtype: str | None, key: str) -> None:
    """InputError where a finished checkpoint is stored in another type than `save_dtype` asks for."""
    if save_dtype is not None and (found := stored_dtype(finished)) != DTYPES[save_dtype]:
        raise InputError(
            f"{finished}: is stored in {name_of(found)}, and {key} asks for {save_dtype}; leave the key out, or remove "
            "the folder to train it again."
        )


def warn_of_other_type(best: Path, dtype: torch.dtype) -> None:
    """Warns where the best checkpoint was saved before its `save_dtype` changed."""
    found = stored_dtype(best)
    if found != dtype:
        logger.warning("the best checkpoint was saved in %s, before %s was asked for", name_of(found), name_of(dtype))


def check_finite(model: "PreTrainedModel", folder: Path) -> None:
    """Raises InputError where loaded weights hold NaN or infinity, and names the first such weight."""
    name = first_not_finite(model, model.dtype)
    if name is None:
        return
    stored = stored_dtype(folder)
    if model.dtype == torch.float16 and stored != torch.float16:
        raise InputError(f"{folder}: {name} does not fit float16; choose precision bf16 or fp32.")
    raise InputError(f"{folder}: {name} holds NaN or infinity; fetch or make the checkpoint again.")


def first_not_finite(model: nn.Module, dtype: torch.dtype) -> str | None:
    """The name of the first weight that holds NaN or infinity once it is cast to `dtype`."""
    for name, weight in model.named_parameters():
        extremes = torch.stack(torch.aminmax(weight.detach())).to(dtype)  # NaN and infinity come through
        if not extremes.isfinite().all():
            return name
    return None


def frozen(module: Model, dtype: torch.dtype, device: torch.device) -> Model:
    """A module that is not trained, on its device in the precision that it runs in: itself where it is so already."""
    weight = next(module.parameters())
    if weight.dtype == dtype and weight.device == torch.device(device):
        return module
    return copy.deepcopy(module).to(device, dtype).requires_grad_(False).eval()


def in_dtype(model: Model, dtype: torch.dtype, encoder: nn.Module | None = None) -> Model:
    """A plain model with these weights in `dtype`, to decode with or to save; the model itself where they are so.

    `encoder`: the frozen one that runs in this precision already, in place of the model's own.
    """
    from .training import model_with_weights

    own = {} if encoder is None else {f"model.encoder.{name}": weight for name, weight in encoder.named_parameters()}
    converted: dict[int, Tensor] = {}  # tied weights are cast once
    weights = dict(model.named_parameters(remove_duplicate=False))
    for name, weight in weights.items():
        if id(weight) not in converted:
            converted[id(weight)] = own.get(name, weight).detach().to(dtype)
    if all(converted[id(weight)].data_ptr() == weight.data_ptr() for weight in weights.values()):
        return model
    return cast(Model, model_with_weights(model, {name: converted[id(weight)] for name, weight in weights.items()}))


def precision_of(dtype: torch.dtype) -> str:
    """fp32, bf16 or fp16."""
    return next(name for name, known in DTYPES.items() if known == dtype)


def name_of(dtype: torch.dtype) -> str:
    """As messages name it: float32, say."""
    return str(dtype).removeprefix("torch.")
