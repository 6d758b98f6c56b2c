"""Word error rate of Whisper transcripts, as a module of the `evaluate` library: it loads without the Hub.

import evaluate
from whisper_pair.text.metrics import folder

wer = evaluate.load(folder("wer"))
wer.compute(predictions=["hallo"], references=["hallo!"], language="nl")
"""

import datasets
import evaluate

from whisper_pair.text import Normalizer, error_rates, pooled


class Wer(evaluate.Metric):
    """Word error rate, as an `evaluate` metric."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="Substitutions, deletions and insertions over the words of all references.",
            citation="",
            inputs_description="predictions, references: texts; language: Whisper's code; spelling: for English, the "
            "map in a checkpoint's normalizer.json.",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self, predictions: list[str], references: list[str], language: str, spelling: dict[str, str] | None = None
    ) -> dict[str, float]:
        """Pooled over all texts, after Whisper's English normalizer or the mark-preserving one."""
        rates = error_rates(references, predictions, language, Normalizer(language, spelling), "wer")
        total = pooled(rates)
        return {"wer": total.rate, "errors": total.errors, "length": total.length}
