"""Whether the weights have changed since an engine was built: it holds copies of them, fused or packed.

Compared are the modules' parts and a parameter's storage, dtype and shape, which show that it was replaced, moved or
cast; its version, which counts the changes in place that autograd sees, `load_state_dict` and optimizer steps among
them; and values, bit by bit, since a change by `.data` or through a NumPy view shows nowhere else. Biases and norms are
compared whole, and of every matrix some 130 elements, spread over all of it. They are gathered and compared on their
device, with one answer read back for each dtype: 2 ms a call for whisper-base on one CPU thread.

What it misses: a change by `.data` of so small a part of a matrix that none of its 130 is there.
"""

import weakref
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from ..errors import InputError

SAMPLED = 128  # elements of a matrix

Key = tuple[int, str]  # the module's number and the parameter's name


class WeightGuard:
    """The models' weights as they were when it was made. It keeps neither the models nor their tensors alive."""

    def __init__(self, *models: torch.nn.Module | None):
        parts = {id(part): part for model in models if model is not None for part in model.modules()}
        self.parts = [weakref.ref(part) for part in parts.values()]
        weights, self.signatures = self._now()
        self.samples = {key: sample(weight).clone() for key, weight in weights.items()}
        self.joined = joined(self.samples.values())

    def check(self) -> None:
        """Raises InputError where they have changed. What has gone from memory cannot change any more."""
        weights, signatures = self._now()
        if len(weights) < len(self.samples):
            self.samples = {key: value for key, value in self.samples.items() if self.parts[key[0]]() is not None}
            self.joined = joined(self.samples.values())
        same = weights.keys() == self.samples.keys()
        same = same and all(self.signatures[key] == signature for key, signature in signatures.items())
        if same:
            found = joined(sample(weight) for weight in weights.values())
            same = all(torch.equal(found[kind], values) for kind, values in self.joined.items())
        if not same:
            raise InputError("the model's weights have changed since this Engine was built: build it again")

    def _now(self) -> tuple[dict[Key, Tensor], dict[int | Key, tuple[object, ...]]]:
        """The parameters, tied ones once, and signatures that show most changes without comparing values."""
        weights: dict[Key, Tensor] = {}
        signatures: dict[int | Key, tuple[object, ...]] = {}
        taken = set()
        for number, reference in enumerate(self.parts):
            if (part := reference()) is None:
                continue
            signatures[number] = tuple(map(id, part._modules.values()))
            for name, weight in part._parameters.items():
                if weight is None:
                    continue
                version = 0 if weight.is_inference() else weight._version
                signatures[number, name] = weight.data_ptr(), version, weight.dtype, weight.shape
                if id(weight) not in taken:
                    taken.add(id(weight))
                    weights[number, name] = weight.detach()
        return weights, signatures


def sample(weight: Tensor) -> Tensor:
    """A view of a vector's elements, or of a matrix's at even spacing, in many rows and columns."""
    values = weight.reshape(-1)
    step = 1 if weight.dim() < 2 else max(1, len(values) // SAMPLED) | 1  # odd: otherwise all might be in one column
    return values[::step]


def joined(samples: Iterable[Tensor]) -> dict[tuple[torch.dtype, torch.device], Tensor]:
    """Their bytes, by dtype and device."""
    alike = defaultdict(list)
    for values in samples:
        alike[values.dtype, values.device].append(values)
    return {kind: torch.cat(values).view(torch.uint8) for kind, values in alike.items()}
