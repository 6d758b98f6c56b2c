"""What is measured of a pair: acceptance, quality, identity, speed, cost and memory."""

from .acceptance import acceptance_section, least_accepted, where_section
from .bootstrap import difference_interval
from .contenders import contenders_of
from .cost import cost_section, prediction_section, steady_costs
from .decoded_clips import DRAFTS, Said, Transcribed, listen
from .decoding_options import write_best_setting
from .engines import Assistant, Engines
from .identity import Witness, identity_section
from .leaks import leak_section
from .longform import long_form_section, recordings
from .memory import memory_section, own_parameters
from .quality import quality_section, rates_of, texts_equal, transcripts
from .speed import speed_section, spread_out, timed_clips
from .timing import ENOUGH
from .tokens import Pieces

__all__ = [
    "DRAFTS",
    "ENOUGH",
    "Assistant",
    "Engines",
    "Pieces",
    "Said",
    "Transcribed",
    "Witness",
    "acceptance_section",
    "contenders_of",
    "cost_section",
    "difference_interval",
    "identity_section",
    "leak_section",
    "least_accepted",
    "listen",
    "long_form_section",
    "memory_section",
    "own_parameters",
    "prediction_section",
    "quality_section",
    "rates_of",
    "recordings",
    "speed_section",
    "spread_out",
    "steady_costs",
    "texts_equal",
    "timed_clips",
    "transcripts",
    "where_section",
    "write_best_setting",
]
