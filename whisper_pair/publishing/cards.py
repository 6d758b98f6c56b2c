"""Model cards, every figure of which is read from the run's report.json.

The metadata is written by huggingface_hub, so that it is what the Hub expects: base_model, language, datasets,
pipeline_tag, library_name, the error rate as a model-index, and tags by which the two halves of a pair are found.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..config import Config, Source
from ..escaping import markdown
from ..report import Criterion, Report, SpeedRow, contender_name, is_pair, machine, percent, rates_of
from ..text import licence, name_of

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

TAGS = ["whisper", "whisper-pair", "speculative-decoding"]


@dataclass(frozen=True)
class Names:
    """Where each part goes."""

    main: str  # org/name
    assistant: str
    subfolder: str | None  # of the assistant in its repository
    standalone: str | None
    multilingual: bool = True  # False: transformers takes neither language nor task


def main_card(config: Config, report: Report, names: Names, hours: float | None) -> bytes:
    """The main's README.md. `hours`: of speech that it labelled; None: not known."""
    metadata = _metadata(config, report, names, base_model(config), "main", report["quality"]["main"]["rate"])
    what = (
        f"A Whisper fine-tuned for {markdown(name_of(config.language))} ({config.task}), with a matched assistant for"
        f" speculative decoding{beside(names)}: the assistant drafts, this model checks all of a draft at once, and the"
        " text is this model's own, token for token."
    )
    return _card(names.main, metadata, what, config, report, names, hours)


def assistant_card(config: Config, report: Report, names: Names, hours: float | None) -> bytes:
    """The assistant's."""
    metadata = _metadata(config, report, names, names.main, "assistant", None)
    pair = report["pair"]
    what = (
        f"The decoder of a Whisper, {len(pair['layers'] or ())} of {pair['main_layers']} layers, distilled from"
        f" [{names.main}](https://huggingface.co/{names.main}) on that model's transcripts. It has no encoder of its"
        " own: it drafts for that model, over that model's encoder, and is of no use alone."
    )
    return _card(names.assistant, metadata, what, config, report, names, hours)


def standalone_card(config: Config, report: Report, names: Names, name: str, hours: float | None) -> bytes:
    """The card of encoder and shallow decoder together, `name` on the Hub."""
    rate = report["quality"]["assistant"]["rate"]
    metadata = _metadata(config, report, names, names.main, "standalone", rate)
    what = (
        f"The encoder of [{names.main}](https://huggingface.co/{names.main}) with the decoder of its assistant: a"
        " complete, smaller and faster Whisper. Alone it is less accurate than the pair, whose text is the main's own."
    )
    arguments = json.dumps({"language": config.language, "task": config.task})
    given = f", generate_kwargs={arguments}" if names.multilingual else ""
    use = f"""from transformers import pipeline

recogniser = pipeline("automatic-speech-recognition", "{name}")
print(recogniser("speech.wav"{given}))  # a file's name needs an FFmpeg program; samples do not"""
    return _joined(name, metadata, what, [f"## Use\n\n```python\n{use}\n```",
                   _quality(report), _training(config, hours), LIMITS, _provenance(report)])  # fmt: skip


def _card(
    name: str,
    metadata: "ModelCardData",
    what: str,
    config: Config,
    report: Report,
    names: Names,
    hours: float | None,
) -> bytes:
    parts = [_use(config, names), _results(report), _quality(report), _acceptance(report), _training(config, hours)]
    return _joined(name, metadata, what, [*parts, LIMITS, _provenance(report)])


def _joined(name: str, metadata: "ModelCardData", what: str, parts: list[str]) -> bytes:
    body = "\n\n".join([f"# {name.split('/')[1]}", what, *parts])
    return f"---\n{metadata.to_yaml()}\n---\n\n{body}\n".encode()


def _metadata(
    config: Config, report: Report, names: Names, base: str | None, role: str, rate: float | None
) -> "ModelCardData":
    from huggingface_hub import EvalResult, ModelCardData

    results = None
    if rate is not None:
        metric = report["quality"]["metric"]
        tested_on: dict[str, Any] = _tested_on(config.data.test)
        results = [
            EvalResult(
                task_type="automatic-speech-recognition",
                task_name="Automatic Speech Recognition",
                **tested_on,
                metric_type=metric,
                metric_name=metric.upper(),
                metric_value=round(100 * rate, 2),
            )
        ]
    return ModelCardData(
        language=config.language,
        base_model=base,
        library_name="transformers",
        pipeline_tag="automatic-speech-recognition",
        datasets=hub_datasets(config) or None,
        metrics=[report["quality"]["metric"]],
        tags=[*TAGS, f"whisper-pair-{role}", f"whisper-pair:{names.main}"],
        model_name=getattr(names, role).split("/")[1] if results else None,
        eval_results=results,
    )


def _tested_on(sources: Sequence[Source]) -> dict[str, str | None]:
    """The rate is pooled over all test sources: it is named for one of them only where there is no other."""
    if len(sources) > 1:
        names = [" ".join(filter(None, [source.hub or "held-out clips", source.config])) for source in sources]
        return {"dataset_type": "mixed", "dataset_name": " + ".join(names)}
    (source,) = sources
    if source.hub is None:
        return {"dataset_type": "audiofolder", "dataset_name": "held-out clips"}
    return {
        "dataset_type": source.hub,
        "dataset_name": source.hub,
        "dataset_config": source.config,
        "dataset_split": str(source.split),
    }


def base_model(config: Config) -> str | None:
    """What was fine-tuned, where the Hub knows it."""
    from pathlib import Path

    return None if Path(config.model).exists() or config.model.count("/") != 1 else config.model


def hub_datasets(config: Config) -> list[str]:
    """The training sets that the Hub has."""
    return list(dict.fromkeys(source.hub for source in config.data.train if source.hub))


def beside(names: Names) -> str:
    """Where the assistant is, after the words that name it."""
    if names.subfolder:
        return f" in its folder `{names.subfolder}/`"
    return f", [{names.assistant}](https://huggingface.co/{names.assistant})"


def _use(config: Config, names: Names) -> str:
    given = f', language="{config.language}", task="{config.task}"' if names.multilingual else ""
    inside = f', subfolder="{names.subfolder}"' if names.subfolder else ""
    stock = f"""from transformers import AutoModelForCausalLM, AutoModelForSpeechSeq2Seq, AutoProcessor

main = AutoModelForSpeechSeq2Seq.from_pretrained("{names.main}")
assistant = AutoModelForCausalLM.from_pretrained("{names.assistant}"{inside})
processor = AutoProcessor.from_pretrained("{names.main}")
inputs = processor(samples, sampling_rate=16_000, return_tensors="pt")  # float samples at 16 kHz, at most 30 s
tokens = main.generate(**inputs, assistant_model=assistant{given})
print(processor.batch_decode(tokens, skip_special_tokens=True))"""
    named = names.main if names.subfolder or names.assistant == f"{names.main}-assistant" else names.assistant
    return (
        "## Use\n\nIn batches and on recordings of any length, with the `whisper-pair` package:\n\n"
        f"```bash\nwhisper-pair transcribe recording.mp3 --pair {named} --language {config.language}\n```\n\n"
        "With plain transformers, one clip at a time (it takes an assistant at batch size 1 and without beams alone):"
        f"\n\n```python\n{stock}\n```"
    )


def _results(report: Report) -> str:
    speed, identity, environment = report["speed"], report["identity"], report["environment"]
    rows = [
        f"| {row['batch_size']:d} | {label} | {row['seconds']:.2f} | {row['rtfx']:.1f} | {row['speedup']:.2f}x |"
        for row in speed["rows"]
        if (label := _label(row))
    ]
    verdict = _verdict(report["verdict"]["criteria"])
    return "\n".join(
        [
            "## Speed\n",
            f"Log-mel features to tokens, {speed['clips']} clips, {speed['audio_seconds']:.0f} s of speech; medians of"
            f" {speed['repeats']} interleaved passes in {markdown(environment['dtype'])} with"
            f" {markdown(environment['attention'])} attention on {markdown(machine(environment['hardware']))}, torch"
            f" {markdown(environment['versions']['torch'])}. Output identical to the"
            f" main's in {identity['identical']} of {identity['utterances']} clips. {verdict}\n",
            "| batch | decoding | seconds | RTFx | over greedy |\n| ---: | --- | ---: | ---: | ---: |",
            *rows,
        ]
    )


def _verdict(criteria: list[Criterion]) -> str:
    failed = [criterion["name"] for criterion in criteria if not criterion["passed"]]
    kept = [criterion["name"].removeprefix("speedup_batch_") for criterion in criteria if criterion["kept"]]
    verdict = f"It did not reach: {', '.join(failed)}." if failed else "By these figures the pair earns its place."
    return verdict + (f" At batch {', '.join(kept)} it drafts nothing, at no cost." if kept else "")


def _label(row: SpeedRow) -> str | None:
    """Contenders by other assistants stay in the report."""
    if row["assistant"] not in (None, "ours"):
        return None
    name = markdown(contender_name(row))
    return f"**{name}**" if is_pair(row) else name


def _quality(report: Report) -> str:
    quality = report["quality"]
    labels = {"start": "before fine-tuning", "main": "main", "pair": "pair", "assistant": "assistant alone"}
    rates = rates_of(quality)
    rows = [f"| {label} | {percent(rates[key]['rate'])} |" for key, label in labels.items() if key in rates]
    return "\n".join(["## Accuracy\n", f"|  | {markdown(quality['metric'].upper())} |\n| --- | ---: |", *rows])


def _acceptance(report: Report) -> str:
    section = report["acceptance"]
    chosen = next(r for r in section["by_draft_tokens"] if r["draft_tokens"] == section["best_draft_tokens"])
    positions = range(1, len(chosen["position_joint"]) + 1)
    line = "| " + " | ".join(f"{share:.2f}" for share in chosen["position_joint"]) + " |"
    return "\n".join(
        [
            "## Acceptance\n",
            f"The assistant agrees with {100 * section['agreement']:.1f} % of the main's tokens. With"
            f" {chosen['draft_tokens']} tokens drafted a round, {100 * chosen['acceptance_rate']:.1f} % of them are"
            f" accepted, and a round wins {chosen['mean_accepted_length']:.2f} tokens. The share of rounds in which the"
            " first 1, 2, ... drafts were all accepted:\n",
            "| " + " | ".join(map(str, positions)) + " |\n|" + " ---: |" * len(chosen["position_joint"]),
            line,
        ]
    )


def _training(config: Config, hours: float | None) -> str:
    lines = [f"- {_source(source)}" for source in config.data.train]
    labelled = "" if hours is None else f" The main labelled {hours:.1f} hours of it for the assistant."
    return "## Training data\n\n" + "\n".join(lines) + f"\n\nSee each corpus's page for its licence.{labelled}"


def _source(source: Source) -> str:
    """A folder's name means nothing to others, and shows where it lies on this machine."""
    if source.hub is None:
        return "clips that are not published"
    page = f"https://huggingface.co/datasets/{quote(source.hub)}"
    part = f"{source.config or 'default'} / {source.split}"
    return ", ".join(filter(None, [f"[{markdown(source.hub)}](<{page}>)", markdown(part), licence(source.hub)]))


LIMITS = """## Limits

It transcribes as Whisper does: up to 30 s at once, with errors on names, noise, overlapping voices and accents that
the training data lack, and with its habit of inventing text where nobody speaks. The figures above hold for the test
clips and the machine they name; measure on your own speech."""


def _provenance(report: Report) -> str:
    environment = report["environment"]
    versions = markdown(", ".join(f"{name} {version}" for name, version in environment["versions"].items()))
    commit, date = markdown(environment["git_commit"] or "unknown"), markdown(environment["date"][:10])
    return (
        f"## Provenance\n\nMade with Whisper Pair, commit {commit}, seed {markdown(str(environment['seed']))};"
        f" evaluated {date} by `whisper-pair eval CONFIG`. {versions}. Encoder SHA-256"
        f" `{report['pair']['encoder_sha256']}`."
    )
