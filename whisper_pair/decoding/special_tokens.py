"""What a token id means, and the prefix that is forced before the first decoded token.

An id is text, the end of the text, a timestamp or another special token. The vocabulary begins with the text of
byte-level BPE, then come <|endoftext|> and Whisper's other special tokens, <|notimestamps|> the last of them. The
timestamps follow, a fixed range. Ids beyond them are no timestamps: words that the checkpoint's owner added, which
are text, and padding up to a round size, which is never decoded (it is among the suppressed tokens).

Which ids are which is read from the generation_config. Beyond what transformers writes there, it holds
`last_timestamp_token_id` and `added_word_ids` where there are ids beyond the timestamps (generation_config.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import WhisperForConditionalGeneration
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from ..errors import InputError

TIMESTAMPS = 1501  # of Whisper's own vocabularies: 0.00 s to 30.00 s in steps of 0.02 s


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of one model's vocabulary."""

    size: int  # of the vocabulary
    start: int  # <|startoftranscript|>
    end: int  # <|endoftext|>; the original vocabulary's text is below it
    no_timestamps: int | None  # <|notimestamps|>
    timestamps: range  # the ids of <|0.00|> and what follows it; empty in a model without them
    words: frozenset[int]  # text that was added to the vocabulary
    previous: int | None  # <|startofprev|>, which opens a previous-text prompt
    languages: dict[str, int]  # "nl" -> <|nl|>; empty in an English-only model
    tasks: dict[str, int]  # "transcribe", "translate"
    suppressed: tuple[int, ...]  # never decoded
    suppressed_first: tuple[int, ...]  # never decoded as the first token
    max_initial_timestamp: int | None  # the first timestamp is at most this many steps of 0.02 s in
    max_length: int  # of prefix and decoded tokens together
    positions: int  # the most tokens a row can hold

    @classmethod
    def of(cls, model: WhisperForConditionalGeneration) -> "SpecialTokens":
        """Raises InputError where the model's generation_config contradicts itself or lacks what decoding needs."""
        config = model.generation_config.to_dict()
        positions = model.config.max_target_positions
        start, end = config.get("decoder_start_token_id"), config.get("eos_token_id")
        if not isinstance(start, int) or not isinstance(end, int):
            raise InputError(
                f"the main's generation_config has decoder_start_token_id={start!r} and eos_token_id={end!r}, where"
                " one id each is expected; set both"
            )
        size = model.config.vocab_size
        no_timestamps = config.get("no_timestamps_token_id")
        if no_timestamps is not None and not end < no_timestamps < size:
            raise InputError(
                f"no_timestamps_token_id is {no_timestamps}, expected between eos_token_id ({end}) and the vocabulary's"
                f" size ({size}); fix the main's generation_config"
            )
        timestamps = range(size, size)
        if no_timestamps is not None:
            last = config.get("last_timestamp_token_id")
            last = min(no_timestamps + TIMESTAMPS if last is None else last, size - 1)
            timestamps = range(no_timestamps + 1, last + 1)
        words = config.get("added_word_ids")
        return cls(
            size=size,
            start=start,
            end=end,
            no_timestamps=no_timestamps,
            timestamps=timestamps,
            words=frozenset(range(timestamps.stop, size) if words is None else words),
            previous=config.get("prev_sot_token_id"),
            languages={name.strip("<|>"): token for name, token in (config.get("lang_to_id") or {}).items()},
            tasks=dict(config.get("task_to_id") or {}),
            suppressed=tuple(config.get("suppress_tokens") or ()),
            suppressed_first=tuple(config.get("begin_suppress_tokens") or ()),
            max_initial_timestamp=config.get("max_initial_timestamp_index"),
            max_length=min(config.get("max_length") or positions, positions),
            positions=positions,
        )

    @property
    def no_speech(self) -> int:
        """<|nospeech|>, which precedes <|notimestamps|>. Raises InputError for a model without it."""
        if self.no_timestamps is None:
            raise InputError("no_speech_threshold needs a main with a <|nospeech|> token, which older ones lack")
        return self.no_timestamps - 1

    @property
    def max_prompt(self) -> int:
        """Previous-text tokens that are used, the last ones: half of what a row can hold."""
        return self.positions // 2 - 1

    def is_text(self, token: int) -> bool:
        """Is it part of the transcript: text of the original vocabulary, or an added word?"""
        return token < self.end or token in self.words

    def steers(self, token: int) -> bool:
        """Whether it is a control token, neither text nor a timestamp."""
        return self.kind(token) in ("special", "end of text")

    def text(self, tokens: Sequence[int]) -> list[int]:
        """Those of `tokens` that are text."""
        return [token for token in tokens if self.is_text(token)]

    def kind(self, token: int) -> str:
        """Which of text, end of text, timestamp and special."""
        if token == self.end:
            return "end of text"
        if token in self.timestamps:
            return "timestamp"
        return "text" if self.is_text(token) else "special"

    def language_token(self, language: str) -> int | None:
        """The token of a language's code or English name; None for English in an English-only model."""
        code = TO_LANGUAGE_CODE.get(language.lower(), language.lower())
        if not self.languages and code == "en":
            return None
        if code not in self.languages:
            known = ", ".join(sorted(self.languages)) or "en alone, it is English-only"
            raise InputError(f"language {language!r} is not one of this model's ({known})")
        return self.languages[code]

    def language_of(self, token: int | None) -> str | None:
        """The code of a language's token."""
        return next((code for code, known in self.languages.items() if known == token), None)

    def check_task(self, task: str) -> None:
        """Raises InputError for a task that the model does not know."""
        if self.tasks and task not in self.tasks:
            raise InputError(f"task {task!r} is not one of this model's ({', '.join(self.tasks)})")
        if not self.tasks and task != "transcribe":
            raise InputError(f"task {task!r} is beyond this English-only model, which can only transcribe")

    def prefix(self, language: int | None, task: str, timestamps: bool, prompt: Sequence[int] | None) -> list[int]:
        """[<|startofprev|> previous text] <|startoftranscript|> [<|language|> <|task|>] [<|notimestamps|>]"""
        before: list[int] = []
        if prompt:
            text = list(prompt)
            if text[0] == self.previous:
                text = text[1:]
            if self.previous is None:
                raise InputError("previous text needs a main whose generation_config has prev_sot_token_id")
            before = [self.previous, *text[-self.max_prompt :]]
        forced = [self.start]
        if language is not None:
            forced += [language, self.tasks[task]]
        if not timestamps and self.no_timestamps is not None:
            forced.append(self.no_timestamps)
        return before + forced

    def limit(self, prefix: int, max_new_tokens: int | None) -> int:
        """The length at which a row ends, its prefix of `prefix` tokens included."""
        if max_new_tokens is not None:
            return min(prefix + max_new_tokens, self.positions)
        return min(self.max_length + min(self.max_prompt, prefix), self.positions)
