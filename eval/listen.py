"""Every contender hears every test clip: the tokens from which acceptance, quality and identity are told."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from whisper_pair.audio import LogMel
from whisper_pair.checkpoints import Lineage, complete
from whisper_pair.data import Clip
from whisper_pair.decoding import Decoded, Engine, Match, Options

AT_ONCE = 32  # clips whose encoder states are held together
DRAFTS = 4  # a round; fixed, so that speculation is put to the test whether or not it would pay on this machine


@dataclass(frozen=True)
class Assistant:
    name: str  # "ours", or the checkpoint it was loaded from
    folder: Path
    model: Any
    lineage: Lineage | None
    vocabulary: torch.Tensor | None = None  # the token ids that it may propose; None: all

    @property
    def has_encoder(self) -> bool:
        return self.model.config.is_encoder_decoder

    def engine(self, main) -> Engine:
        return Engine(main, self.model, self.vocabulary)

    def alone(self, main) -> Engine:
        return Engine(complete(main, self.model))


@dataclass
class Said:
    """What one assistant said and did about every clip, in the clips' order."""

    alone: list[list[int]] = field(default_factory=list)
    pair: list[Decoded] = field(default_factory=list)  # the engine's counters included
    choices: list[list[int]] = field(default_factory=list)  # along the main's text: what the assistant would have said
    matches: list[Match] = field(default_factory=list)  # the offline account of the same


@dataclass
class Heard:
    main: list[list[int]]
    start: list[list[int]] | None  # the checkpoint before fine-tuning
    by: dict[str, Said]  # by assistant


def listen(
    main, start, assistants: Sequence[Assistant], clips: Sequence[Clip], log_mel: LogMel, options: Options
) -> Heard:
    """A few clips at a time, so that a test set of any size fits."""
    from tqdm import tqdm

    greedy = Engine(main)
    engines = {a.name: (a.engine(main), a.alone(main)) for a in assistants}
    heard = Heard([], None if start is None else [], {a.name: Said() for a in assistants})
    with tqdm(total=len(clips), desc="decoding the test set", unit="clip") as bar:
        for first in range(0, len(clips), AT_ONCE):
            some = clips[first : first + AT_ONCE]
            features = log_mel(log_mel.pad([clip.read() for clip in some]).to(main.device))
            states = encode(main, features)
            decoded = greedy.decode(encoder_states=states, options=options)
            heard.main += [row.tokens for row in decoded]
            if start is not None:
                heard.start += [row.tokens for row in Engine(start).decode(features, options)]
            for assistant in assistants:
                own = encode(assistant.model, features) if assistant.has_encoder else None
                _hear(heard.by[assistant.name], *engines[assistant.name], states, own, decoded, options)
            bar.update(len(some))
    return heard


def _hear(
    said: Said, engine: Engine, alone: Engine, states, own_states, decoded: list[Decoded], options: Options
) -> None:
    drafting = replace(options, draft_tokens=DRAFTS)
    said.pair += engine.decode(encoder_states=states, draft_states=own_states, options=drafting)
    its = states if own_states is None else own_states
    said.alone += [row.tokens for row in alone.decode(encoder_states=its, options=options)]
    choices = engine.choices(its, [row.tokens for row in decoded], options)
    said.choices += choices
    special = engine.special
    for row, chosen in zip(decoded, choices, strict=True):
        limit = special.limit(len(row.prompt), options.max_new_tokens) - len(row.prompt)
        said.matches.append(Match.of(row.tokens, chosen, special.end, limit))


@torch.no_grad()
def encode(model, features):
    """[clips, mel, frames] -> [clips, frames, width], eight clips at a time."""
    encoder = model.model.encoder
    return torch.cat([encoder(part.to(model.dtype)).last_hidden_state for part in features.split(8)])
