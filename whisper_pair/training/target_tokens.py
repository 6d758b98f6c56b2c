"""Target tokens of a window: the prefix that the decoder is given, and the tokens of the human transcript.

The prefix is [<|startofprev|> previous text] <|startoftranscript|> <|language|> <|task|> [<|notimestamps|>]: context
for main and assistant alike, and never a label. Timestamps are Whisper's: steps of 0.02 s into the window, before and
after each segment; our segments are the clips, whose places in the window are known. A transcript is text: nothing in
it becomes a control token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..data import WITHIN_MARK, Window
from ..decoding import SpecialTokens
from ..errors import InputError

STEP = 0.02  # seconds between two timestamp tokens


@dataclass(frozen=True)
class TargetTokens:
    """Makes target tokens for one checkpoint, language and task."""

    special: SpecialTokens
    tokenizer: Any  # WhisperTokenizer
    language: int | None  # its token; None: English-only model
    task: str

    @classmethod
    def of(cls, model: Any, tokenizer: Any, language: str, task: str) -> "TargetTokens":
        """Raises InputError for a language or task that the checkpoint lacks."""
        special = SpecialTokens.of(model)
        special.check_task(task)
        return cls(special, tokenizer, special.language_token(language), task)

    def check(self, timestamps: float, previous_text: float) -> None:
        """Raises InputError where the checkpoint lacks the tokens that data.timestamps and data.previous_text need."""
        if timestamps and not self.special.timestamps:
            raise InputError(f"data.timestamps: expected 0, found {timestamps:g}: this checkpoint has no timestamps.")
        if previous_text and self.special.previous is None:
            raise InputError(
                f"data.previous_text: expected 0, found {previous_text:g}: this checkpoint's generation_config has no "
                "prev_sot_token_id."
            )

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self._ids(texts)] if texts else []

    @property
    def room(self) -> int:
        """The most tokens of text and timestamps that a target can hold, beside its shortest prefix and the end."""
        return self.special.positions - len(self.special.prefix(self.language, self.task, False, None))

    def prompt(self, window: Window, room: int | None = None) -> list[int]:
        """The last tokens of the text before the window, at most `room` and as many as Whisper takes; maybe none."""
        if window.previous is None:
            return []
        most = self.special.max_prompt if room is None else max(0, min(room, self.special.max_prompt))
        ids = self._ids([window.previous])[0]
        return ids[len(ids) - min(most, len(ids)) :]

    def prefix(self, window: Window, prompt: list[int]) -> list[int]:
        """The tokens that the decoder is given before the window's own."""
        return self.special.prefix(self.language, self.task, window.timestamps, prompt)

    def human(self, window: Window) -> tuple[tuple[int, ...], int]:
        """The tokens of the window's human text, with prefix and end, and how many of them are prefix."""
        text = self._stamped(window) if window.timestamps else self._ids([(window.text or "").strip()])[0]
        bare = len(self.prefix(window, [])) + len(text) + 1  # the end
        prefix = self.prefix(window, self.prompt(window, self.special.positions - bare))  # one place more: startofprev
        return (*prefix, *text, self.special.end), len(prefix)

    def _stamped(self, window: Window) -> list[int]:
        """<|begin|> text <|end|> for each clip, or for each of its segments where its text has their times.

        Timestamps never fall, as Whisper's rules for decoding demand: a segment begins where the one before it ends,
        if it would overlap it.
        """
        segments = [
            (min(begin + first, end), min(begin + last, end), text.strip())
            for clip, (begin, end) in zip(window.clips, window.times, strict=True)
            for first, last, text in clip.times or [(0.0, end - begin, clip.text or "")]
        ]
        found: list[int] = []
        latest = 0.0
        for (begin, end, _), ids in zip(segments, self._ids([text for _, _, text in segments]), strict=True):
            begin = max(begin, latest)
            latest = max(end, begin)
            found += [self._timestamp(begin), *ids, self._timestamp(latest)]
        return found

    def _timestamp(self, seconds: float) -> int:
        stamps = self.special.timestamps
        return stamps[min(round(seconds / STEP), len(stamps) - 1)]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Whisper's text begins with a space. A special token in it is spelt out: `split_special_tokens` does that for
        those that the tokenizer calls special; timestamps are not among them, so the text is split within them."""
        parts = [part for text in texts for part in WITHIN_MARK.split(" " + text)]
        ids = iter(self.tokenizer(parts, add_special_tokens=False, split_special_tokens=True).input_ids)
        return [[token for _ in WITHIN_MARK.split(text) for token in next(ids)] for text in texts]
