"""The special tokens of a Whisper checkpoint, and the prefix that they force before the first decoded token."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import WhisperForConditionalGeneration
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from ..errors import InputError


@dataclass(frozen=True)
class SpecialTokens:
    size: int  # of the vocabulary
    start: int  # <|startoftranscript|>
    end: int  # <|endoftext|>; every text token lies below it
    no_timestamps: int | None  # <|notimestamps|>; timestamps lie above it
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
                f" size ({size}); mend the main's generation_config"
            )
        return cls(
            size=size,
            start=start,
            end=end,
            no_timestamps=no_timestamps,
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
    def max_prompt(self) -> int:
        """Previous-text tokens that are used, the last ones: half of what a row can hold."""
        return self.positions // 2 - 1

    @property
    def first_timestamp(self) -> int:
        """The id of <|0.00|>; past the vocabulary in a model without timestamps."""
        return self.size if self.no_timestamps is None else self.no_timestamps + 1

    def steers(self, token: int) -> bool:
        """Whether it is a control token, neither text nor a timestamp: they stand between the two."""
        if self.no_timestamps is not None:
            return self.end <= token <= self.no_timestamps
        return token in {self.start, self.end, self.previous, *self.languages.values(), *self.tasks.values()}

    def language_token(self, language: str) -> int:
        """The token of a language's code or English name."""
        code = TO_LANGUAGE_CODE.get(language.lower(), language.lower())
        if code not in self.languages:
            known = ", ".join(sorted(self.languages)) or "none, it is English-only: leave language unset"
            raise InputError(f"language {language!r} is not one of this model's ({known})")
        return self.languages[code]

    def language_of(self, token: int | None) -> str | None:
        return next((code for code, known in self.languages.items() if known == token), None)

    def check_task(self, task: str) -> None:
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
