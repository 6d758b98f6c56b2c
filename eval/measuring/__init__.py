"""What is measured of a pair: acceptance, quality, identity, speed, cost and memory."""

from . import ctranslate
from .acceptance import acceptance_section, agreement_by_group, least_accepted
from .bootstrap import difference_interval
from .contenders import contenders_of
from .cost import cost_section, prediction_section, steady_costs
from .decoded_clips import DRAFTS, AssistantOutput, DecodedClips, decode_clips
from .decoding_options import write_best_draft_tokens
from .engines import Assistant, Engines
from .identity import NearTieCheck, identity_section
from .leaks import leak_section
from .longform import long_form_section, recordings
from .memory import memory_section, own_parameters
from .quality import rate_rows, texts_equal, transcripts, utterance_rates
from .short_windows import KindOfWindows, short_windows_section
from .speed import Timed, speed_section, spread_out, timed_clips
from .timing import ENOUGH
from .tokens import Pieces
from .trees import tree_rows
from .windows import windows_of

__all__ = [
    "DRAFTS",
    "ENOUGH",
    "Assistant",
    "AssistantOutput",
    "DecodedClips",
    "Engines",
    "KindOfWindows",
    "NearTieCheck",
    "Pieces",
    "Timed",
    "acceptance_section",
    "agreement_by_group",
    "contenders_of",
    "cost_section",
    "ctranslate",
    "decode_clips",
    "difference_interval",
    "identity_section",
    "leak_section",
    "least_accepted",
    "long_form_section",
    "memory_section",
    "own_parameters",
    "prediction_section",
    "rate_rows",
    "recordings",
    "short_windows_section",
    "speed_section",
    "spread_out",
    "steady_costs",
    "texts_equal",
    "timed_clips",
    "transcripts",
    "tree_rows",
    "utterance_rates",
    "windows_of",
    "write_best_draft_tokens",
]
