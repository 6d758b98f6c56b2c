"""What the student gets wrong, shown in place: the main's text with each rejected draft beside the token it missed."""

from dataclasses import dataclass

from whisper_pair.escaping import markdown
from whisper_pair.text import text_of


@dataclass(frozen=True)
class Example:
    clip: str
    tokens: list[int]  # the main's
    choices: list[int]  # the student's at each of them, given those before

    @property
    def agreed(self) -> int:
        return sum(said == wanted for said, wanted in zip(self.choices, self.tokens, strict=True))


def marked(example: Example, tokenizer) -> str:
    """The main's text, with ~~rejected draft~~ **the main's token** wherever they differ."""
    parts, run = [], []
    for wanted, said in zip(example.tokens, example.choices, strict=True):
        if wanted == said:
            run.append(wanted)
            continue
        rejected, right = _text([said], tokenizer).strip(), _text([wanted], tokenizer).strip()
        parts += [_text(run, tokenizer), f" ~~{rejected}~~ **{right}**"]
        run = []
    return "".join([*parts, _text(run, tokenizer)]).strip()


def table(examples: list[Example], tokenizer) -> str:
    """Markdown: clip, the main's text, the same with rejected drafts in place, and how many of its tokens agree."""
    lines = ["| clip | main | assistant: ~~rejected draft~~ **main's token** | agreed |", "| --- | --- | --- | ---: |"]
    for example in examples:
        main = text_of(tokenizer, example.tokens).strip()
        cells = [markdown(example.clip), markdown(main), marked(example, tokenizer)]
        lines.append(f"| {' | '.join(cells)} | {example.agreed} of {len(example.tokens)} |")
    return "\n".join(lines) + "\n"


def _text(tokens: list[int], tokenizer) -> str:
    """With special tokens, such as the end of text, by their names; spaces at the ends stay."""
    text = text_of(tokenizer, tokens, special_tokens=True)
    before, after = text[:1].isspace(), text[-1:].isspace()
    return " " * before + markdown(text) + " " * after
