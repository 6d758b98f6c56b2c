"""Every contender's tokens for every test clip, from which acceptance, quality and identity are computed.

The long part of an evaluation, so the processes of a launch share it, and it is stored as it goes: a few clips at a
time make a file, complete or absent. Which clips go together depends neither on the processes nor on restarts.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch import Tensor

from whisper_pair.audio import LogMel
from whisper_pair.data import Clip, features_of
from whisper_pair.decoding import Decoded, Engine, Options, TokenMatches, TokenRanks, encode_each
from whisper_pair.runs import stop_on_signals, write_json

from .engines import Assistant, Engines
from .windows import windows_of

AT_ONCE = 32  # clips whose encoder states are held together, and the most that a kill costs
DRAFTS = 4  # a round; fixed, so that speculation is tested whether or not it pays off on this machine


@dataclass
class AssistantOutput:
    """What one assistant made of every clip, in the clips' order."""

    alone: list[list[int]] = field(default_factory=list)
    pair: list[Decoded] = field(default_factory=list)  # the engine's counters included
    ranks: list[TokenRanks] = field(default_factory=list)  # which of its choices the main's tokens are

    @property
    def choices(self) -> list[list[int]]:
        """Its prediction at each position of the main's text."""
        return [list(each.choices) for each in self.ranks]

    @cached_property
    def matches(self) -> list[TokenMatches]:
        """Where its first choice is the main's token."""
        return [each.matches for each in self.ranks]


@dataclass
class DecodedClips:
    """Tokens of every clip, in the clips' order."""

    main: list[list[int]] = field(default_factory=list)
    start: list[list[int]] | None = None  # the checkpoint before fine-tuning
    by: dict[str, AssistantOutput] = field(default_factory=dict)  # by assistant
    short: "DecodedClips | None" = None  # the judged pair's over short windows, where the main was trained on them


def decode_clips(
    engines: Engines,
    start: Engine | None,
    clips: Sequence[Clip],
    log_mel: LogMel,
    options: Options,
    folder: Path,
    processes: PartialState,
    margin: float | None = None,
) -> DecodedClips:
    """Decodes what `folder` does not hold yet, and stores it there. `start`: an engine of the checkpoint before
    fine-tuning; `margin`: seconds after a clip's end, of the short windows that are decoded too; None: none are."""
    from tqdm import tqdm

    folder.mkdir(exist_ok=True)
    files = {first: folder / f"clips-{first:08d}.json" for first in range(0, len(clips), AT_ONCE)}
    missing = [first for first, file in files.items() if not file.is_file()]
    processes.wait_for_everyone()  # no process writes before all have seen what there is
    mine = missing[processes.process_index :: processes.num_processes]

    def count(firsts: Iterable[int]) -> int:
        return sum(min(AT_ONCE, len(clips) - first) for first in firsts)

    def stored() -> str:
        done = count(first for first, file in files.items() if file.is_file())
        return f"{done} of {len(clips)} test clips are decoded and kept"

    silent = not processes.is_main_process
    with (
        stop_on_signals(stored) as check,
        tqdm(total=count(mine), desc="decoding", unit="clip", disable=silent) as bar,
    ):
        for first in mine:
            some = clips[first : first + AT_ONCE]
            write_json(files[first], asdict(_decode(engines, start, some, log_mel, options, margin)))
            bar.update(len(some))
            check()
        processes.wait_for_everyone()
    return _joined([json.loads(file.read_text(encoding="utf-8")) for file in files.values()])


def _decode(
    engines: Engines,
    start: Engine | None,
    clips: Sequence[Clip],
    log_mel: LogMel,
    options: Options,
    margin: float | None,
) -> DecodedClips:
    features = features_of(clips, log_mel, engines.main.device)
    decoded = _in_windows(engines, engines.assistants, windows_of(features, clips, None), options)
    if start is not None:
        decoded.start = [row.tokens for row in start.decode(features, options)]
    if margin is not None:
        short = windows_of(features, clips, margin)
        decoded.short = _in_windows(engines, engines.assistants[:1], short, options)
    return decoded


def _in_windows(
    engines: Engines, assistants: Sequence[Assistant], windows: Sequence[Tensor], options: Options
) -> DecodedClips:
    """`windows` [mel, 2 F], one a clip."""
    states = encode(engines.judged.encoders.main, windows)
    greedy = engines.judged.decode(encoder_states=states, options=options)
    decoded = DecodedClips([row.tokens for row in greedy])
    for assistant in assistants:
        engine, alone = engines.pair(assistant), engines.alone(assistant)
        own = encode(engine.encoders.draft, windows) if assistant.has_encoder else None
        decoded.by[assistant.name] = _output_of(engine, alone, states, own, greedy, options)
    return decoded


def _output_of(
    engine: Engine,
    alone: Engine,
    states: Sequence[Tensor],  # [F, width] of each clip, the main's
    own_states: Sequence[Tensor] | None,  # of an assistant with an encoder of its own
    greedy: list[Decoded],  # the main's
    options: Options,
) -> AssistantOutput:
    its = states if own_states is None else own_states
    tokens = [row.tokens for row in greedy]
    drafting = replace(options, draft_tokens=DRAFTS)
    return AssistantOutput(
        alone=[row.tokens for row in alone.decode(encoder_states=its, options=options)],
        pair=engine.decode(encoder_states=states, draft_states=own_states, options=drafting),
        ranks=engine.ranks(its, tokens, options),
    )


def _joined(parts: Sequence[dict[str, Any]]) -> DecodedClips:
    """What the files hold, in the clips' order."""
    whole = DecodedClips(by={name: AssistantOutput() for name in parts[0]["by"]})
    for part in parts:
        whole.main += part["main"]
        if part["start"] is not None:
            whole.start = (whole.start or []) + part["start"]
        for name, stored in part["by"].items():
            output = whole.by[name]
            output.alone += stored["alone"]
            output.pair += [_read(Decoded, row, "drafted_per_round", "accepted_per_round") for row in stored["pair"]]
            output.ranks += [_read(TokenRanks, row, "ranks", "end_ranks", "choices") for row in _ranks(stored)]
    short = [part["short"] for part in parts if part.get("short")]  # older versions did not know it
    if short:
        whole.short = _joined(short)
    return whole


def _ranks(stored: dict[str, Any]) -> list[dict[str, Any]]:
    """With the choices, which older versions wrote beside the ranks."""
    if "choices" not in stored:
        found: list[dict[str, Any]] = stored["ranks"]
        return found
    return [row | {"choices": choices} for row, choices in zip(stored["ranks"], stored["choices"], strict=True)]


def _read(kind: type, stored: dict[str, Any], *tuples: str) -> Any:
    """JSON knows no tuples."""
    return kind(**stored | {name: tuple(stored[name]) for name in tuples})


def encode(encoder, windows: Sequence[Tensor]) -> list[Tensor]:
    """[mel, 2 F] of each clip -> [F, width] of each, eight clips at a time."""
    return [states for at in range(0, len(windows), 8) for states in encode_each(encoder, windows[at : at + 8])]
