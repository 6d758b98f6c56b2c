""""""

from .hub_name import named
from .schema import (
    Config,
    Data,
    Distill,
    Eval,
    Losses,
    Optimization,
    Perturb,
    Require,
    Source,
    SpecAugment,
    Train,
    dump_config,
    load_config,
)

__all__ = [
    "Config",
    "Data",
    "Distill",
    "Eval",
    "Losses",
    "Optimization",
    "Perturb",
    "Require",
    "Source",
    "SpecAugment",
    "Train",
    "dump_config",
    "load_config",
    "named",
]
