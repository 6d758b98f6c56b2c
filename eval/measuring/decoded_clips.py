"""Every contender hears every test clip: the tokens from which acceptance, quality and identity are told.

The long part of an evaluation, so the processes of a launch share it, and it is kept as it goes: a few clips at a time
make a file, whole or absent. Which clips go together depends neither on the processes nor on restarts.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from whisper_pair.audio import LogMel
from whisper_pair.data import Clip, features_of
from whisper_pair.decoding import Decoded, Engine, Options, TokenMatches
from whisper_pair.decoding import encoders as windows
from whisper_pair.runs import stop_on_signals, write_json

from .engines import Engines

AT_ONCE = 32  # clips whose encoder states are held together, and the most that a kill costs
DRAFTS = 4  # a round; fixed, so that speculation is put to the test whether or not it would pay on this machine


@dataclass
class Said:
    """What one assistant said and did about every clip, in the clips' order."""

    alone: list[list[int]] = field(default_factory=list)
    pair: list[Decoded] = field(default_factory=list)  # the engine's counters included
    choices: list[list[int]] = field(default_factory=list)  # along the main's text: what the assistant would have said
    matches: list[TokenMatches] = field(default_factory=list)  # the offline account of the same


@dataclass
class Transcribed:
    main: list[list[int]] = field(default_factory=list)
    start: list[list[int]] | None = None  # the checkpoint before fine-tuning
    by: dict[str, Said] = field(default_factory=dict)  # by assistant


def listen(
    engines: Engines,
    start: Engine | None,
    clips: Sequence[Clip],
    log_mel: LogMel,
    options: Options,
    folder: Path,
    processes,
) -> Transcribed:
    """Goes on with what `folder` holds, and leaves there all that was heard. `start`: an engine of the checkpoint
    before fine-tuning; `processes`: accelerate's PartialState."""
    from tqdm import tqdm

    folder.mkdir(exist_ok=True)
    files = {first: folder / f"clips-{first:08d}.json" for first in range(0, len(clips), AT_ONCE)}
    missing = [first for first, file in files.items() if not file.is_file()]
    processes.wait_for_everyone()  # nobody writes before everybody has seen what there is
    mine = missing[processes.process_index :: processes.num_processes]

    def count(firsts: Iterable[int]) -> int:
        return sum(min(AT_ONCE, len(clips) - first) for first in firsts)

    def kept() -> str:
        heard = count(first for first, file in files.items() if file.is_file())
        return f"{heard} of {len(clips)} test clips are decoded and kept"

    silent = not processes.is_main_process
    with stop_on_signals(kept), tqdm(total=count(mine), desc="decoding", unit="clip", disable=silent) as bar:
        for first in mine:
            some = clips[first : first + AT_ONCE]
            features = features_of(some, log_mel, engines.main.device)
            states = encode(engines.judged.encoders.main, features)
            decoded = engines.judged.decode(encoder_states=states, options=options)
            heard = Transcribed([row.tokens for row in decoded])
            if start is not None:
                heard.start = [row.tokens for row in start.decode(features, options)]
            for assistant in engines.assistants:
                engine, alone = engines.pair(assistant), engines.alone(assistant)
                own = encode(engine.encoders.draft, features) if assistant.has_encoder else None
                heard.by[assistant.name] = _said(engine, alone, states, own, decoded, options)
            write_json(files[first], asdict(heard))
            bar.update(len(some))
        processes.wait_for_everyone()
    return _joined([json.loads(file.read_text(encoding="utf-8")) for file in files.values()])


def _joined(parts: Sequence[dict[str, Any]]) -> Transcribed:
    """What the files tell, in the clips' order."""
    whole = Transcribed(by={name: Said() for name in parts[0]["by"]})
    for part in parts:
        whole.main += part["main"]
        if part["start"] is not None:
            whole.start = (whole.start or []) + part["start"]
        for name, told in part["by"].items():
            said = whole.by[name]
            said.alone += told["alone"]
            said.choices += told["choices"]
            said.pair += [_read(Decoded, row, "drafted_per_round", "accepted_per_round") for row in told["pair"]]
            said.matches += [_read(TokenMatches, row, "agrees", "ends") for row in told["matches"]]
    return whole


def _read(kind: type, told: dict[str, Any], *tuples: str) -> Any:
    """JSON knows no tuples."""
    return kind(**told | {name: tuple(told[name]) for name in tuples})


def _said(engine: Engine, alone: Engine, states, own_states, decoded: list[Decoded], options: Options) -> Said:
    """`decoded`: what the main says alone."""
    its = states if own_states is None else own_states
    choices = engine.choices(its, [row.tokens for row in decoded], options)
    special, matches = engine.special, []
    for row, chosen in zip(decoded, choices, strict=True):
        limit = special.limit(len(row.prompt), options.max_new_tokens) - len(row.prompt)
        matches.append(TokenMatches.of(row.tokens, chosen, special.end, limit))
    drafting = replace(options, draft_tokens=DRAFTS)
    return Said(
        alone=[row.tokens for row in alone.decode(encoder_states=its, options=options)],
        pair=engine.decode(encoder_states=states, draft_states=own_states, options=drafting),
        choices=choices,
        matches=matches,
    )


def encode(encoder, features):
    """[clips, mel, frames] -> [clips, frames, width], eight clips at a time."""
    return torch.cat([windows.encode(encoder, part) for part in features.split(8)])
