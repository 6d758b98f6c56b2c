"""One window being decoded: the state that the host keeps of it between rounds."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from .options import Decoded, Options, Round
from .round_result import VerificationResult
from .special_tokens import SpecialTokens


@dataclass(eq=False)
class Row:
    """One window's tokens, what the caches hold of them, and the counters of its rounds."""

    index: int  # of the window in the call
    prompt: Sequence[int] | None  # previous text
    states: Tensor  # the main's encoder states [F, d]; empty once they are of no more use
    draft_states: Tensor  # those of the draft's own encoder, or the main's
    drafts: bool = True  # does the draft know this window? False: its own encoder has not run
    features: Tensor | None = None  # [mel, frames], while it is open whether that encoder is worth its time
    frames: int = field(init=False)  # F: of its window
    tokens: list[int] = field(default_factory=list)  # prefix and what was decoded
    start: int = 0  # length of the prefix
    limit: int = 0  # length at which the row ends
    end: int = -1  # the end-of-text token
    timestamps: range = range(0)
    language: str | None = None
    draft_cached: int = 0  # tokens whose keys and values are surely in the draft's KV cache
    main_cached: int = 0  # the same of the main's: all but the last, once the prefix was read
    timestamp: int = -1  # the last one decoded
    finished: bool = False
    drafted: list[int] = field(default_factory=list)  # a round
    accepted: list[int] = field(default_factory=list)
    log_probability: float = 0.0  # sum
    no_speech_probability: float | None = None

    def __post_init__(self) -> None:
        self.frames = len(self.states)

    def begin(self, special: SpecialTokens, options: Options, language: int | None) -> None:
        """Forget what was decoded, if anything, and set the prefix, which no model has read yet."""
        self.language = special.language_of(language)
        self.tokens = special.prefix(language, options.task, options.timestamps, self.prompt)
        self.start, self.draft_cached, self.main_cached = len(self.tokens), 0, 0
        self.limit = special.limit(self.start, options.max_new_tokens)
        self.end, self.timestamps = special.end, special.timestamps
        self.timestamp, self.finished, self.log_probability = -1, False, 0.0
        self.drafted, self.accepted = [], []

    def release_states(self) -> None:
        """Free the encoder states: the cross-attention's keys and values are computed."""
        self.states = self.draft_states = self.states.new_empty(0)

    @property
    def done(self) -> bool:
        """Has the text ended, or reached the length limit?"""
        return self.finished or len(self.tokens) >= self.limit

    @property
    def length(self) -> int:
        """Tokens decoded so far."""
        return len(self.tokens) - self.start

    def inputs(self, width: int) -> list[int]:
        """A round's input: the last `width` tokens (the first one repeated where there are fewer), and the counts."""
        length = len(self.tokens)
        last = self.tokens[-width:]
        return [last[0]] * (width - len(last)) + last + [length, length - self.start, self.timestamp]

    def ends(self, result: VerificationResult) -> bool:
        """Would `advance` end the row?"""
        new = [*(result.proposed[node] for node in result.path), result.following]
        return self.end in new or len(self.tokens) + len(new) >= self.limit

    def advance(self, result: VerificationResult) -> Round:
        """Take a round's tokens: the accepted drafts and the main's own, up to the end of text or the limit.

        Drafted are the tokens up to the limit and, where the draft ended the text on the main's own path or by its
        first disagreement, those that do not follow that end. (An end further on is on a path that the main has left;
        as the rows of a batch draft equally many tokens, it would save nothing. Counted so, the counters follow from
        the main's text and the draft's choices along it: see acceptance.py.)
        """
        length, tree, proposed = len(self.tokens), result.tree, result.proposed
        room = self.limit - length
        path = result.path[:room]
        ends = []
        if self.end in proposed:
            on_path = {-1, *path}
            ends = [
                tree.paths[node]
                for node, token in enumerate(proposed)
                if token == self.end and tree.parents[node] in on_path
            ]
            path = path[: next((k + 1 for k, node in enumerate(path) if proposed[node] == self.end), len(path))]
        counted = tree.counted(room, ends)
        drafted = min(result.offered, sum(counted))
        new = [*(proposed[node] for node in path), result.following][:room]
        if self.end in new:
            new = new[: new.index(self.end) + 1]
            self.finished = True
        self.tokens += new
        self.main_cached = len(self.tokens) - 1
        if proposed:  # the draft was fed those that others follow
            fed = not path or (tree.is_parent[path[-1]] and path[-1] + 1 < len(proposed))
            self.draft_cached = length + len(path) - (not fed)
        for token in new:
            if token in self.timestamps:
                self.timestamp = token
        if result.log_probabilities is not None:
            self.log_probability += sum(result.log_probabilities[: len(new)])
        self.drafted.append(drafted)
        self.accepted.append(len(path))
        if tree.is_chain:
            return Round(tuple(proposed[:drafted]), len(path), tuple(new))
        return tree_round(result, path, new, counted)

    @property
    def mean_log_probability(self) -> float:
        """Of the decoded tokens, natural logarithm."""
        return self.log_probability / max(1, self.length)

    def silent(self, options: Options) -> bool:
        """Do the thresholds say that the window holds no speech?"""
        if options.no_speech_threshold is None or options.log_probability_threshold is None:
            return False
        if self.no_speech_probability is None or self.no_speech_probability <= options.no_speech_threshold:
            return False
        return self.mean_log_probability < options.log_probability_threshold

    def poor(self, options: Options, vocabulary_size: int) -> bool:
        """Does Whisper's fallback ask for another try at a higher temperature?"""
        if self.silent(options):
            return False
        if options.compression_ratio_threshold is not None:
            ratio = compression_ratio(self.tokens[self.start :], vocabulary_size)
            if ratio > options.compression_ratio_threshold:
                return True
        threshold = options.log_probability_threshold
        return threshold is not None and self.mean_log_probability < threshold

    def decoded(self, options: Options, temperature: float) -> Decoded:
        """The row's result, once it is done."""
        return Decoded(
            tokens=self.tokens[self.start :],
            prompt=self.tokens[: self.start],
            language=self.language,
            finished=self.finished,
            rounds=len(self.drafted),
            drafted=sum(self.drafted),
            accepted=sum(self.accepted),
            drafted_per_round=tuple(self.drafted),
            accepted_per_round=tuple(self.accepted),
            temperature=temperature,
            mean_log_probability=self.mean_log_probability if options.needs_log_probabilities else None,
            no_speech_probability=self.no_speech_probability,
            silent=self.silent(options),
        )


def tree_round(result: VerificationResult, path: Sequence[int], new: list[int], counted: list[bool]) -> Round:
    """A round over a tree, as the caller sees it: the drafts that count, numbered again."""
    kept = [node for node, counts in enumerate(counted) if counts]
    number = {node: index for index, node in enumerate(kept)} | {-1: -1}
    return Round(
        drafted=tuple(result.proposed[node] for node in kept),
        accepted=len(path),
        tokens=tuple(new),
        parents=tuple(number[result.tree.parents[node]] for node in kept),
        path=tuple(number[node] for node in path),
    )


def compression_ratio(tokens: Sequence[int], vocabulary_size: int) -> float:
    """Bytes of the token ids, raw over zlib-compressed: loops compress well (transformers' form of Whisper's test)."""
    width = int(math.log2(vocabulary_size) / 8) + 1
    raw = b"".join(token.to_bytes(width, "little") for token in tokens)
    return len(raw) / len(zlib.compress(raw))
