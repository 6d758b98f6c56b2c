"""What the Hub reads of a release: the card's metadata, and `.eval_results/`, from which leaderboards are filled.

Both are written by huggingface_hub, so that they are what the Hub expects.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..config import Config, Source
from ..text import normalization_name
from .names import Release

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TAGS = ["whisper", "whisper-pair", "speculative-decoding"]
LICENCES = {"openai/whisper-large-v3-turbo": "mit"}  # of the checkpoints by OpenAI, the others are under Apache 2.0


def metadata(release: Release, base: str | None, role: str, rate: float | None) -> "ModelCardData":
    """`role`: main, assistant or standalone; `rate`: its error rate, None where it has none of its own."""
    from huggingface_hub import ModelCardData

    config, names = release.config, release.names
    results = None if rate is None else [_result(release, rate)]
    return ModelCardData(
        language=config.language,
        license=release.licence,
        base_model=base,
        library_name="transformers",
        pipeline_tag="automatic-speech-recognition",
        datasets=hub_datasets(config) or None,
        metrics=[release.report["quality"]["metric"]],
        tags=[*TAGS, f"whisper-pair-{role}", f"whisper-pair:{names.main}"],
        model_name=str(getattr(names, role)).split("/")[1] if results else None,
        eval_results=results,
    )


def _result(release: Release, rate: float) -> "EvalResult":
    from huggingface_hub import EvalResult

    metric, tested_on = release.report["quality"]["metric"], _tested_on(release.config.data.test)
    return EvalResult(
        task_type="automatic-speech-recognition",
        task_name="Automatic Speech Recognition",
        **tested_on,
        metric_type=metric,
        metric_name=metric.upper(),
        metric_value=round(100 * rate, 2),
    )


def _tested_on(sources: Sequence[Source]) -> dict[str, Any]:
    """The rate is pooled over all test sources: it is named for one of them only where there is no other."""
    if len(sources) > 1:
        parts = [" ".join(filter(None, [source.hub or "held-out clips", source.config])) for source in sources]
        return {"dataset_type": "mixed", "dataset_name": " + ".join(parts)}
    (source,) = sources
    if source.hub is None:
        return {"dataset_type": "audiofolder", "dataset_name": "held-out clips"}
    return {
        "dataset_type": source.hub,
        "dataset_name": source.hub,
        "dataset_config": source.config,
        "dataset_split": str(source.split),
        "dataset_revision": source.revision,
    }


def eval_results(release: Release) -> dict[str, bytes]:
    """`.eval_results/NAME.yaml` by path: the main's error rate on the Hub's test set, where it was measured on one."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    config, report = release.config, release.report
    sources = config.data.test
    if len(sources) > 1 or sources[0].hub is None:
        return {}
    (source,) = sources
    data, metric = report["data"], report["quality"]["metric"].upper()
    entry = EvalResultEntry(
        dataset_id=str(source.hub),
        task_id=source.config or "default",
        value=round(100 * report["quality"]["main"]["rate"], 2),
        dataset_revision=source.revision,
        date=report["environment"]["date"],
        notes=(
            f"{metric} on {data['clips']} of {data['available']} clips of the split {source.split}, greedy decoding, "
            f"after {normalization_name(config.text_language)}"
        ),
    )
    name = str(source.hub).split("/")[-1]
    return {f".eval_results/{name}.yaml": yaml.safe_dump(eval_result_entries_to_yaml([entry])).encode()}


def base_model(config: Config) -> str | None:
    """What was fine-tuned, where the Hub knows it."""
    return None if Path(config.model).exists() or config.model.count("/") != 1 else config.model


def licence_of(config: Config) -> str | None:
    """Of the checkpoint that the pair was made from, where it is one of OpenAI's."""
    base = base_model(config) or ""
    return LICENCES.get(base, "apache-2.0") if base.startswith("openai/whisper-") else None


def hub_datasets(config: Config) -> list[str]:
    """The training sets that the Hub has."""
    return list(dict.fromkeys(source.hub for source in config.data.train if source.hub))
