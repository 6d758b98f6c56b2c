"""The engine's options, and its results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .tree import DraftTree


@dataclass(frozen=True)
class Options:
    """How `Engine.decode` decodes.

    `draft_tokens` "auto" chooses for each round among drafting nothing, chains of some lengths and a few trees, by what
    rounds cost on this machine and how often the main agreed. Where tokens are sampled, or a confidence is set, a tree
    is drafted as the chain of its depth.
    """

    language: str | None = None  # code or English name; None: detected once a window, where the model is multilingual
    task: str = "transcribe"  # or "translate"
    timestamps: bool = False  # decode <|0.00|> ... tokens under Whisper's rules for them
    max_new_tokens: int | None = None  # decoded tokens at most; always at most what the model's positions hold
    batch_size: int = 8  # rows decoded at once; a finished row is replaced by the next window
    draft_tokens: int | DraftTree | Literal["auto"] = "auto"  # drafted a round; 0: plain greedy; "auto": see below
    confidence: float | None = None  # a round's drafting ends after a token that the draft holds less likely than this
    temperature: float | Sequence[float] = 0.0  # 0: greedy; several: tried in turn while a threshold below is missed
    seed: int | None = None  # of sampling; None: a fresh one
    compression_ratio_threshold: float | None = None  # token ids as bytes, raw / zlib; above it the next temperature
    log_probability_threshold: float | None = None  # mean over the decoded tokens; below it the next temperature
    no_speech_threshold: float | None = None  # above it, with the mean below its threshold: silence, no retry
    log_probabilities: bool = False  # report the mean log-probability; costs a pass over the vocabulary

    @property
    def temperatures(self) -> tuple[float, ...]:
        """In the order in which they are tried."""
        return tuple(self.temperature) if isinstance(self.temperature, Sequence) else (self.temperature,)

    @property
    def needs_log_probabilities(self) -> bool:
        """Asked for, or needed to decide whether a row is tried again."""
        return self.log_probabilities or self.log_probability_threshold is not None


@dataclass(frozen=True)
class Round:
    """One verification by the main, of one row."""

    drafted: tuple[int, ...]  # tokens proposed, up to where drafting ended
    accepted: int  # how many of them the main agreed with
    tokens: tuple[int, ...]  # the tokens that the round added to the row
    parents: tuple[int, ...] = ()  # of each drafted token the one that it follows, -1 the row's last; empty: a chain
    path: tuple[int, ...] = ()  # which drafted tokens were accepted, where they are a tree; in a chain the first ones

    @property
    def rejected(self) -> tuple[tuple[int, ...], ...]:
        """[accepted + 1] The rejected drafts by how many accepted ones are before them: of a tree those that directly
        follow the accepted path, of a chain all that follow its last accepted one."""
        if not self.parents:
            return ((),) * self.accepted + (self.drafted[self.accepted :],)
        return tuple(
            tuple(
                token
                for number, token in enumerate(self.drafted)
                if self.parents[number] == parent and number not in self.path
            )
            for parent in (-1, *self.path)
        )


@dataclass(frozen=True)
class Decoded:
    """One window's result."""

    tokens: list[int]  # decoded after the prefix, the end-of-text token included where it was emitted
    prompt: list[int]  # the forced prefix: previous text, start, language, task, timestamps
    language: str | None  # given or detected; None: English-only model
    finished: bool  # ended with end of text, not at the length limit
    rounds: int  # verifications by the main; the prefix's own forward is not counted
    drafted: int  # tokens proposed; what would come after a drafted end of text or past the limit is not counted
    accepted: int  # of those, agreed with by the main
    drafted_per_round: tuple[int, ...]
    accepted_per_round: tuple[int, ...]
    temperature: float  # the one that gave these tokens
    mean_log_probability: float | None = None  # where asked for; of the decoded tokens under the main and the rules
    no_speech_probability: float | None = None  # where asked for
    silent: bool = False  # no_speech_threshold says that the window holds no speech: leave the tokens out
