"""Example drafts: the main's text, with each rejected draft beside the token that it missed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whisper_pair.escaping import markdown
from whisper_pair.text import text_of


@dataclass(frozen=True)
class DraftExample:
    """A clip, and what the student drafts at each of the main's tokens."""

    clip: str
    tokens: list[int]  # the main's
    choices: list[int]  # the student's at each of them, given those before

    @property
    def agreed(self) -> int:
        """How many of the main's tokens the student predicts."""
        return sum(draft == token for draft, token in zip(self.choices, self.tokens, strict=True))


def marked(example: DraftExample, tokenizer: Any) -> str:
    """The main's text, with ~~rejected draft~~ **the main's token** wherever they differ."""
    parts: list[str] = []
    run: list[int] = []
    for token, draft in zip(example.tokens, example.choices, strict=True):
        if token == draft:
            run.append(token)
            continue
        rejected, right = _text([draft], tokenizer).strip(), _text([token], tokenizer).strip()
        parts += [_text(run, tokenizer), f" ~~{rejected}~~ **{right}**"]
        run = []
    return "".join([*parts, _text(run, tokenizer)]).strip()


def table(examples: Sequence[DraftExample], tokenizer: Any) -> str:
    """Markdown: clip, the main's text, the same with rejected drafts in place, and how many of its tokens agree."""
    lines = ["| clip | main | assistant: ~~rejected draft~~ **main's token** | agreed |", "| --- | --- | --- | ---: |"]
    for example in examples:
        main = text_of(tokenizer, example.tokens).strip()
        cells = [markdown(example.clip), markdown(main), marked(example, tokenizer)]
        lines.append(f"| {' | '.join(cells)} | {example.agreed} of {len(example.tokens)} |")
    return "\n".join(lines) + "\n"


def _text(tokens: list[int], tokenizer: Any) -> str:
    """With special tokens, such as the end of text, by their names; spaces at the ends stay."""
    text = text_of(tokenizer, tokens, special_tokens=True)
    before, after = text[:1].isspace(), text[-1:].isspace()
    return " " * before + markdown(text) + " " * after
