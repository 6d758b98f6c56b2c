"""Measures a pair on test clips: acceptance, quality, identity, cost and speed -> report.json and its readings."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import (
    Lineage,
    check_pair,
    checkpoint_folder,
    complete,
    encoder_sha256,
    load_draft,
    load_main,
    load_processor,
    main_folder,
)
from whisper_pair.config import Config
from whisper_pair.data import Clip, fingerprint, load_test_clips
from whisper_pair.decoding import Engine, Match, Options
from whisper_pair.decoding.vocabulary import SpecialTokens
from whisper_pair.draft_vocabulary import FILE as DRAFT_VOCABULARY
from whisper_pair.draft_vocabulary import proposable
from whisper_pair.runs import Stage, as_json, file_digest, provenance, write_json
from whisper_pair.text import Normalizer

from .acceptance import acceptance_section
from .identity import identity_section
from .plots import draw
from .quality import quality_section
from .report import markdown
from .speed import cost_section, speed_section
from .verdict import verdict_section

AT_ONCE = 32  # clips whose encoder states are held together

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Assistant:
    name: str  # "ours", or the checkpoint it was loaded from
    folder: Path
    model: Any
    lineage: Lineage | None
    vocabulary: torch.Tensor | None = None  # the token ids that it may propose; None: all

    def engine(self, main) -> Engine:
        return Engine(main, self.model, self.vocabulary)


@dataclass
class Heard:
    """What every contender said about every test clip, in the clips' order."""

    main: list[list[int]]
    start: list[list[int]] | None  # the checkpoint before fine-tuning
    assistant: dict[str, list[list[int]]]  # by assistant, speaking alone
    pair: dict[str, list]  # by assistant: Decoded, the engine's counters included
    matches: dict[str, list[Match]]  # by assistant: the offline account of the same


def stage_of(config: Config, main: Path, assistant: Path) -> Stage:
    inputs = {
        "main": _weights(main),
        "assistant": _weights(assistant),
        "compare": {name: _weights(checkpoint_folder(name)) for name in config.eval.compare},
        "language": config.language,
        "task": config.task,
        "eval": config.resolved()["eval"],
        "test_data": fingerprint(config.data.test),
    }
    return Stage(Path(config.output) / "eval", as_json(inputs))


def _weights(folder: Path) -> dict[str, str]:
    files = [*sorted(folder.glob("*.safetensors")), *folder.glob(DRAFT_VOCABULARY)]
    return {file.name: file_digest(file) for file in files}


def evaluate(config: Config, overwrite: bool = False) -> int:
    """Writes `eval/report.json` with its Markdown and plots.

    Returns the exit status: 1 where the pair says what its main would not have said, and no near tie explains it.
    """
    main_at = main_folder(config)
    ours_at = checkpoint_folder(str(Path(config.output) / "assistant"))
    stage = stage_of(config, main_at, ours_at)
    if stage.finished():
        stage.tidy()
        print(f"{stage.folder}: already evaluated with these inputs")
        return 0
    stage.refuse_other_inputs(overwrite)
    folders = {"ours": ours_at} | {name: checkpoint_folder(name) for name in config.eval.compare}
    lineages = {name: check_pair(main_at, folder) for name, folder in folders.items()}

    processor = load_processor(main_at)
    log_mel, tokenizer = LogMel(processor.feature_extractor), processor.tokenizer
    clips = load_test_clips(config.data.test, config.data, log_mel.seconds, "test")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = DTYPES[config.eval.precision]
    main = load_main(main_at, dtype, device)
    special = SpecialTokens.of(main)
    special.check_task(config.task)
    options = Options(
        language=config.language if special.languages else None, task=config.task, batch_size=8, draft_tokens=0
    )
    assistants = [
        Assistant(name, folder, load_draft(folder, dtype, device), lineages[name], proposable(folder))
        for name, folder in folders.items()
    ]
    if assistants[0].vocabulary is not None:  # what the smaller head gains and loses
        assistants.insert(1, replace(assistants[0], name="ours, all tokens", vocabulary=None))
    start = None
    if config.train is not None:
        start = load_main(checkpoint_folder(config.model, config.revision), dtype, device)

    stage.begin(config)
    print(f"test: {len(clips)} clips, {sum(clip.seconds for clip in clips) / 60:.1f} minutes, on {device}")
    heard = listen(main, start, assistants, clips, log_mel, options)
    normalizer = Normalizer(config.language, getattr(tokenizer, "english_spelling_normalizer", None) or None)
    costs = {a.name: a.engine(main).costs(1) for a in assistants}
    references = [clip.text for clip in clips]
    quality, texts = quality_section(heard, references, tokenizer, config.language, normalizer)
    report = {
        "version": 1,
        "pair": pair_section(config, main, main_at, assistants[0]),
        "data": {
            "sources": [source.name for source in config.data.test],
            "clips": len(clips),
            "seconds": sum(clip.seconds for clip in clips),
            "language": config.language,
            "task": config.task,
        },
        "acceptance": acceptance_section(heard.matches["ours"], config.eval.draft_tokens, costs["ours"]),
        "compared": {
            a.name: acceptance_section(heard.matches[a.name], config.eval.draft_tokens, costs[a.name])
            for a in assistants[1:]
        },
        "quality": quality,
        "identity": identity_section(heard, clips, main, log_mel, options),
        "cost": {a.name: cost_section(costs[a.name]) for a in assistants},
        "speed": speed_section(main, assistants, clips, log_mel, options, config, costs),
        "environment": provenance(config, str(device))
        | {"dtype": config.eval.precision, "attention": main.config._attn_implementation},
    }
    report["verdict"] = verdict_section(report)
    write_utterances(stage.work / "utterances.parquet", clips, heard, texts)
    write_json(stage.work / "report.json", as_json(report))
    (stage.work / "report.md").write_text(markdown(report), encoding="utf-8")
    draw(report, stage.work / "plots")
    stage.finish()
    print(f"{stage.folder}: report.json, report.md, utterances.parquet, plots/")
    if report["identity"]["unexplained"]:
        print(f"the pair's output is not the main's: see identity in {stage.folder}/report.json")
        return 1
    return 0


def listen(main, start, assistants: list[Assistant], clips: list[Clip], log_mel: LogMel, options: Options) -> Heard:
    """Every contender over every clip, a few clips at a time so that a test set of any size fits."""
    from tqdm import tqdm

    greedy = Engine(main)
    engines = {a.name: a.engine(main) for a in assistants}
    alone = {a.name: Engine(complete(main, a.model)) for a in assistants}
    drafting = replace(options, draft_tokens="auto")
    heard = Heard([], None if start is None else [], {n: [] for n in engines}, {n: [] for n in engines}, {})
    heard.matches = {name: [] for name in engines}
    for first in tqdm(range(0, len(clips), AT_ONCE), desc="decoding the test set", unit="batch"):
        features = log_mel(log_mel.pad([clip.read() for clip in clips[first : first + AT_ONCE]]).to(main.device))
        states = encode(main, features)
        tokens = [decoded.tokens for decoded in greedy.decode(encoder_states=states, options=options)]
        heard.main += tokens
        if start is not None:
            heard.start += [decoded.tokens for decoded in Engine(start).decode(features, options)]
        for assistant in assistants:
            name, engine = assistant.name, engines[assistant.name]
            own = assistant.model if assistant.model.config.is_encoder_decoder else None
            draft_states = None if own is None else encode(own, features)
            heard.pair[name] += engine.decode(encoder_states=states, draft_states=draft_states, options=drafting)
            spoken = alone[name].decode(
                encoder_states=states if draft_states is None else draft_states, options=options
            )
            heard.assistant[name] += [decoded.tokens for decoded in spoken]
            heard.matches[name] += engine.agreement(states if draft_states is None else draft_states, tokens, options)
    return heard


@torch.no_grad()
def encode(model, features):
    """[clips, mel, frames] -> [clips, frames, width], eight clips at a time."""
    encoder = model.model.encoder
    return torch.cat([encoder(part.to(model.dtype)).last_hidden_state for part in features.split(8)])


def pair_section(config: Config, main, main_at: Path, assistant: Assistant) -> dict[str, Any]:
    def millions(parameters) -> float:
        return round(sum(p.numel() for p in parameters) / 1e6, 3)

    shared = {p.data_ptr() for p in main.parameters()}
    own = [p for n, p in assistant.model.named_parameters() if p.data_ptr() not in shared and "embed" not in n]
    return {
        "main": str(config.model if config.train is None else Path(config.output) / "main"),
        "start": config.model,
        "assistant": str(Path(config.output) / "assistant"),
        "layers": list(assistant.lineage.layers) if assistant.lineage else None,
        "draft_vocabulary": None if assistant.vocabulary is None else len(assistant.vocabulary),
        "main_layers": main.config.decoder_layers,
        "main_parameters_millions": millions(main.parameters()),
        "assistant_own_parameters_millions": millions(own),
        "encoder_sha256": encoder_sha256(main_at),
    }


def write_utterances(path: Path, clips: list[Clip], heard: Heard, texts: dict[str, list[str]]) -> None:
    """One row a test clip: what was said, what each said, and how its drafts fared."""
    import pyarrow as pa
    import pyarrow.parquet

    pairs, matches = heard.pair["ours"], heard.matches["ours"]
    table = pa.table(
        {
            "clip": [clip.name for clip in clips],
            "seconds": [clip.seconds for clip in clips],
            "reference": [clip.text for clip in clips],
            **texts,
            "tokens": heard.main,
            "agrees": [list(match.agrees) for match in matches],
            "rounds": [decoded.rounds for decoded in pairs],
            "drafted": [decoded.drafted for decoded in pairs],
            "accepted": [decoded.accepted for decoded in pairs],
            "identical": [decoded.tokens == tokens for decoded, tokens in zip(pairs, heard.main, strict=True)],
        }
    )
    pyarrow.parquet.write_table(table, path)
