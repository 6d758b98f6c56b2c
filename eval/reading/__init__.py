"""What is made of the measurements: the verdict, the report, its page and plots, and comparisons of reports."""

from .document import Document, main_document, pair_document
from .page import page
from .plots import draw
from .report import markdown
from .timeline import timeline_section, typical_clip
from .verdict import check_enough_timings, verdict_section

__all__ = [
    "Document",
    "check_enough_timings",
    "draw",
    "main_document",
    "markdown",
    "page",
    "pair_document",
    "timeline_section",
    "typical_clip",
    "verdict_section",
]
