"""Word error rate of Whisper transcripts, as a module of the `evaluate` library: it loads without the Hub.

import evaluate
from whisper_pair.text.metrics import folder

wer = evaluate.load(folder("wer"))
wer.compute(predictions=["hallo"], references=["hallo!"], language="nl")
"""

from whisper_pair.text.metrics import error_rate_metric  # not the class: `evaluate` takes the first one that it finds


class Wer(error_rate_metric.ErrorRateMetric):
    """Word error rate, as an `evaluate` metric."""

    metric = "wer"
    description = "Substitutions, deletions and insertions over the words of all references."
