"""Character error rate of Whisper transcripts, as a module of the `evaluate` library: it loads without the Hub.

import evaluate
from whisper_pair.text.metrics import folder

cer = evaluate.load(folder("cer"))
cer.compute(predictions=["hallo"], references=["hallo!"], language="nl")
"""

from whisper_pair.text.metrics import error_rate_metric  # not the class: `evaluate` takes the first one that it finds


class Cer(error_rate_metric.ErrorRateMetric):
    """Character error rate, as an `evaluate` metric."""

    metric = "cer"
    description = "Substitutions, deletions and insertions over the characters, spaces left out."
