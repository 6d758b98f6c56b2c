"""The error rates of whisper_pair.text as a metric of the `evaluate` library."""

from typing import ClassVar, Literal

import datasets
import evaluate

from whisper_pair.text import Normalizer, error_rates, pooled


class ErrorRateMetric(evaluate.Metric):
    """WER or CER; a metric's module names which, and what it counts."""

    metric: ClassVar[Literal["wer", "cer"]]
    description: ClassVar[str]

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            inputs_description="predictions, references: texts; language: Whisper's code; spelling: for English, the "
            "map in a checkpoint's normalizer.json.",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self, predictions: list[str], references: list[str], language: str, spelling: dict[str, str] | None = None
    ) -> dict[str, float]:
        """Pooled over all texts, after Whisper's English normalizer or the mark-preserving one."""
        total = pooled(error_rates(references, predictions, language, Normalizer(language, spelling), self.metric))
        return {self.metric: total.rate, "errors": total.errors, "length": total.length}
