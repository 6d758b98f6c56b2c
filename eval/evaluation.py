"""One pair's evaluation: its report, section by section, from the decoded test clips and from what is timed."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from transformers import WhisperForConditionalGeneration

from whisper_pair import Pair
from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import Capabilities, encoder_sha256, load_processor
from whisper_pair.config import Config
from whisper_pair.data import Clip, long_test_clips
from whisper_pair.decoding import Costs, Options, SpecialTokens, accepted_per_round
from whisper_pair.precision import precision_of
from whisper_pair.report import (
    VERSION,
    AcceptanceSection,
    AssistantAcceptance,
    Counters,
    DataSection,
    Environment,
    LongForm,
    LongFormSkipped,
    MemorySection,
    PairSection,
    Quality,
    Report,
    ShortWindowsSection,
    SpeedSection,
    Timeline,
    Utterance,
    UtteranceText,
)
from whisper_pair.runs import as_json, provenance, write_table
from whisper_pair.text import Normalizer, metric_name

from .common import trained_windows
from .measuring import (
    DRAFTS,
    Assistant,
    AssistantOutput,
    DecodedClips,
    Engines,
    KindOfWindows,
    NearTieCheck,
    Pieces,
    Timed,
    acceptance_section,
    agreement_by_group,
    contenders_of,
    cost_section,
    ctranslate,
    identity_section,
    leak_section,
    least_accepted,
    long_form_section,
    memory_section,
    own_parameters,
    prediction_section,
    rate_rows,
    recordings,
    short_windows_section,
    speed_section,
    steady_costs,
    texts_equal,
    timed_clips,
    transcripts,
    tree_rows,
    utterance_rates,
    windows_of,
)
from .reading import timeline_section, typical_clip, verdict_section


class Evaluation:
    """`decoded`: every contender's tokens for `clips`; `options`: how the main decodes them alone."""

    def __init__(
        self,
        config: Config,
        main_at: Path,
        assistant_name: str,
        engines: Engines,
        clips: list[Clip],
        log_mel: LogMel,
        options: Options,
        decoded: DecodedClips,
    ):
        self.config, self.main_at, self.assistant_name = config, main_at, assistant_name
        self.clips, self.log_mel = clips, log_mel
        self.engines, self.options, self.decoded = engines, options, decoded
        self.main, self.assistants = engines.main, engines.assistants
        self.special = SpecialTokens.of(self.main)
        self.processor = load_processor(main_at)
        self.pieces = Pieces(self.processor.tokenizer)
        self.normalizer = Normalizer.of(config.text_language, self.processor.tokenizer)
        self.texts = transcripts(decoded, self.processor.tokenizer)
        references = [clip.text or "" for clip in clips]
        self.rates = utterance_rates(self.texts, references, config.text_language, self.normalizer)
        prompts = [row.prompt for row in self.ours.pair]
        self.near_tie = NearTieCheck(self.main, log_mel, clips, prompts, self.pieces)

    @property
    def judged(self) -> Assistant:
        """The assistant whose pair is judged."""
        return self.assistants[0]

    @property
    def ours(self) -> AssistantOutput:
        """The judged assistant's output."""
        return self.decoded.by["ours"]

    def report(self, available: int) -> Report:
        """`available`: the test set's clips before eval.limit. Releases the engines."""
        settings, engines = self.config.eval, self.engines
        costs, alone = self.costs()
        timed = timed_clips(
            self.clips, settings.timed_clips, self.main, self.log_mel, self.decoded.main, self.ours.matches
        )
        speed = self.speed(timed, costs)
        engines.release(but_the_judged=True)
        short_windows = self.short_windows(timed, costs)
        acceptance = acceptance_section(self.ours.matches, alone["ours"])
        report = {
            "version": VERSION,
            "pair": self.pair_section(),
            "data": data_section(self.config, self.clips, available, self.log_mel.seconds),
            "acceptance": self.acceptance(acceptance, alone["ours"]),
            "compared": {
                a.name: acceptance_section(self.decoded.by[a.name].matches, alone[a.name]) for a in self.assistants[1:]
            },
            "quality": self.quality(),
            "identity": identity_section(self.decoded.main, self.ours, self.near_tie, engines.judged, self.options),
            "cost": {name: cost_section(found) for name, found in alone.items()},
            "prediction": prediction_section(costs, acceptance, speed),
            "speed": speed,
            "training": training_history(self.judged),
            "published": None if settings.published is None else asdict(settings.published),
            "timeline": self.timeline(),
            "utterances": self.utterances(),
            "environment": environment_of(self.config, self.main),
            "memory": self.memory(timed),  # releases all engines
        }
        if short_windows is not None:
            report["short_windows"] = short_windows
        report["verdict"] = verdict_section(cast(Report, report), settings.require)
        return cast(Report, as_json(report))

    def costs(self) -> tuple[dict[int, Costs], dict[str, Costs]]:
        """The judged pair's costs by batch size, and every assistant's at batch 1, by name."""
        engines, sizes = self.engines, sorted({1, *self.config.eval.batch_sizes})
        costs = steady_costs(engines.judged, sizes)
        alone = {"ours": costs[1]}
        alone |= {a.name: steady_costs(engines.pair(a), [1])[1] for a in self.assistants[1:]}
        return costs, alone

    def speed(self, timed: Timed, costs: dict[int, Costs]) -> SpeedSection:
        """Times all contenders. Their engines are freed when it returns."""
        settings = self.config.eval
        for assistant in self.assistants[1:]:
            for size in settings.batch_sizes:  # else "auto" would try drafts while it is timed
                its = replace(self.options, batch_size=size, draft_tokens="auto")
                self.engines.pair(assistant).measure_rounds(its)
        contenders = contenders_of(self.engines, self.options, settings.draft_tokens)
        others, left_out = ctranslate.contenders(self.main, self.main_at, self.options)
        contenders += others
        return speed_section(self.engines, contenders, timed, settings, self.near_tie, costs, self.log_mel, left_out)

    def short_windows(self, timed: Timed, costs: dict[int, Costs]) -> ShortWindowsSection | None:
        """Windows as long as the test clips beside full ones, where the main was trained on them."""
        trained, decoded, settings = trained_windows(self.main_at), self.decoded.short, self.config.eval
        if trained is None or decoded is None:
            return None
        language, references = self.config.text_language, [clip.text or "" for clip in self.clips]
        texts = {"short": transcripts(decoded, self.processor.tokenizer)["main"]}
        rates = rate_rows({"main": self.rates["main"]} | utterance_rates(texts, references, language, self.normalizer))
        full = KindOfWindows(self.decoded, rates["main"], self.near_tie, timed)
        short = KindOfWindows(decoded, rates["short"], replace(self.near_tie, margin=trained.margin), timed)
        largest = max(settings.batch_sizes)
        return short_windows_section(self.engines.judged, full, short, self.options, largest, settings.repeats, costs)

    def memory(self, timed: Timed) -> MemorySection:
        """With up to eight windows at once. Releases the engines."""
        trained, count = trained_windows(self.main_at), min(8, max(self.config.eval.batch_sizes))
        full, clips = timed.features[:count], timed.clips[:count]
        short = None if trained is None else windows_of(full, clips, trained.margin)
        return memory_section(self.engines, list(full), short, self.options)

    def pair_section(self) -> PairSection:
        """Main and assistant, by name and size."""
        config, judged = self.config, self.judged

        def millions(parameters: Iterable[torch.Tensor]) -> float:
            return round(sum(p.numel() for p in parameters) / 1e6, 3)

        return {
            "main": str(config.model if config.train is None else Path(config.output) / "main"),
            "start": config.model,
            "assistant": self.assistant_name,
            "layers": list(judged.manifest.layers) if judged.manifest else None,
            "draft_vocabulary": None if judged.vocabulary is None else len(judged.vocabulary),
            "main_layers": self.main.config.decoder_layers,
            "main_parameters_millions": millions(self.main.parameters()),
            "assistant_own_parameters_millions": millions(own_parameters(self.main, judged.model)),
            "encoder_sha256": encoder_sha256(self.main_at),
        }

    def acceptance(self, found: AssistantAcceptance, costs: Costs) -> AcceptanceSection:
        """`found`: the judged assistant's; here with where tokens are accepted and where not, and by trees of drafts.
        `costs`: at batch 1."""
        ours, tokens, names = self.ours, self.decoded.main, [clip.name for clip in self.clips]
        return {
            **found,
            **agreement_by_group(ours.matches, tokens, self.pieces, self.special),
            "least_accepted": least_accepted(ours.matches, tokens, ours.choices, names, self.pieces),
            "counters": self.counters(),
            "by_tree": tree_rows(ours.ranks, self.engines.judged.round_times.trees, costs),
        }

    def counters(self) -> Counters:
        """The engine's own counters against the offline replay, round by round."""
        rounds = [list(zip(d.drafted_per_round, d.accepted_per_round, strict=True)) for d in self.ours.pair]
        offline = [accepted_per_round(match, DRAFTS) for match in self.ours.matches]
        equal = sum(its == expected for its, expected in zip(rounds, offline, strict=True))
        return {"utterances": len(self.clips), "draft_tokens": DRAFTS, "equal": equal}

    def quality(self) -> Quality:
        """Every contender's error rate."""
        rest = {
            "metric": metric_name(self.config.text_language),
            "texts_equal": texts_equal(self.texts["main"], self.texts["pair"]),
            "long_form": self.long_form(),
        }
        return cast(Quality, rest | rate_rows(self.rates))

    def long_form(self) -> LongForm | LongFormSkipped:
        """Recordings of several windows."""
        config, judged, seconds = self.config, self.judged, self.log_mel.seconds
        long = long_test_clips(config.data.test, config.data, seconds)
        chosen = recordings(config, self.clips, long, seconds)
        trained = Capabilities.load(self.main_at)
        pair = Pair(
            self.main, judged.model, self.processor, judged.manifest, engine=self.engines.judged, capabilities=trained
        )
        apart = {clip.name: rate for clip, rate in zip(self.clips, self.rates["main"], strict=True)}
        options = replace(self.options, draft_tokens=DRAFTS)
        return long_form_section(pair, chosen, apart, options, config.text_language, self.normalizer)

    def timeline(self) -> Timeline:
        """A typical utterance, round by round."""
        clip = self.clips[typical_clip(self.ours.pair, self.clips)]
        return timeline_section(self.engines.judged, clip, self.log_mel, self.options, self.pieces)

    def utterances(self) -> list[Utterance]:
        """Each clip's texts, errors and counters."""
        return [self._utterance(row, clip) for row, clip in enumerate(self.clips)]

    def _utterance(self, row: int, clip: Clip) -> Utterance:
        pair, match = self.ours.pair[row], self.ours.matches[row]

        def of(name: str) -> UtteranceText:
            return {"errors": self.rates[name][row].errors, "text": self.texts[name][row].strip()}

        return {
            "clip": clip.name,
            "seconds": clip.seconds,
            "reference": clip.text or "",
            "length": self.rates["main"][row].length,
            "tokens": len(match.agrees),
            "agreed": sum(match.agrees),
            "rounds": pair.rounds,
            "drafted": pair.drafted,
            "accepted": pair.accepted,
            "identical": pair.tokens == self.decoded.main[row],
            "main": of("main"),
            "assistant": of("assistant"),
            "pair": of("pair"),
        }

    def write_utterances(self, path: Path) -> None:
        """One row a test clip: the texts, and how its drafts fared, token by token."""
        import pyarrow as pa

        rows, ours = self.utterances(), self.ours
        columns: dict[str, Sequence[object]] = {
            "clip": [row["clip"] for row in rows],
            "seconds": [row["seconds"] for row in rows],
            "reference": [row["reference"] for row in rows],
            "rounds": [row["rounds"] for row in rows],
            "drafted": [row["drafted"] for row in rows],
            "accepted": [row["accepted"] for row in rows],
            "identical": [row["identical"] for row in rows],
            **self.texts,
            "tokens": self.decoded.main,
            "agrees": [list(match.agrees) for match in ours.matches],
            "assistant_tokens": ours.choices,
            "drafted_per_round": [list(pair.drafted_per_round) for pair in ours.pair],
            "accepted_per_round": [list(pair.accepted_per_round) for pair in ours.pair],
        }
        write_table(path, pa.table(columns))


def data_section(config: Config, clips: Sequence[Clip], available: int, window_seconds: float) -> DataSection:
    """The test clips, and which of them were trained on. `available`: before eval.limit."""
    return {
        "sources": [source.name for source in config.data.test],
        "clips": len(clips),
        "available": available,
        "seconds": sum(clip.seconds for clip in clips),
        "language": config.language,
        "task": config.task,
        "leaks": leak_section(clips, config.data, window_seconds),
    }


def environment_of(config: Config, main: WhisperForConditionalGeneration) -> Environment:
    """What the figures were measured with."""
    found = provenance(config, str(main.device)) | {
        "dtype": precision_of(main.dtype),
        "attention": main.config._attn_implementation,
    }
    return cast(Environment, found)


def training_history(assistant: Assistant) -> list[dict[str, Any]]:
    """The assistant's validations, where our distillation made it."""
    file = assistant.folder / "history.json"
    return json.loads(file.read_text(encoding="utf-8"))["history"] if file.is_file() else []
