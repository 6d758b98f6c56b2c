"""One YAML file describes a pair: its keys, and how they are read. Imports nothing heavy."""

from .hub_name import named
from .load import dump_config, load_config
from .parse import home, plain
from .schema import (
    LONGEST_MARGIN,
    Config,
    Data,
    Distill,
    Eval,
    Losses,
    Optimization,
    Perturb,
    Require,
    ShortWindows,
    Source,
    SpecAugment,
    Train,
)
from .shares import share_of

__all__ = [
    "LONGEST_MARGIN",
    "Config",
    "Data",
    "Distill",
    "Eval",
    "Losses",
    "Optimization",
    "Perturb",
    "Require",
    "ShortWindows",
    "Source",
    "SpecAugment",
    "Train",
    "dump_config",
    "home",
    "load_config",
    "named",
    "plain",
    "share_of",
]
