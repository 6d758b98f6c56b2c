"""What is made of the measurements: the verdict, the report, its page and plots, and comparisons."""

from .page import page
from .plots import draw
from .report import markdown
from .schema import VERSION, check
from .timeline import telling, timeline_section
from .verdict import check_enough_timings, verdict_section

__all__ = [
    "VERSION",
    "check",
    "check_enough_timings",
    "draw",
    "markdown",
    "page",
    "telling",
    "timeline_section",
    "verdict_section",
]
