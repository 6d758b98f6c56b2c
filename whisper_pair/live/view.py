"""A contest as HTML. Whatever comes from a file, a checkpoint or a model is escaped."""

import codecs
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..decoding import Round, SpecialTokens
from ..escaping import html as escape
from ..text import added_words
from .contest import Contest, Side

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LEGEND = {
    "accepted": "drafted by the assistant, accepted by the main",
    "rejected": "drafted, and rejected",
    "own": "the main's own token",
}


class Piece(NamedTuple):
    """One token, spelt."""

    way: str  # how the token came, as in LEGEND
    text: str
    special: bool  # the end of the text, say: no text


class Spelling:
    """Token ids -> text, as they come. Byte-level BPE may split a character over tokens: the one that ends it shows
    it."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", special: SpecialTokens):
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        self.tokenizer, self.special, self.words = tokenizer, special, added_words(tokenizer)
        self.bytes = {character: byte for byte, character in bytes_to_unicode().items()}

    def pieces(self, rounds: Sequence[Round]) -> Iterator[Piece]:
        """Every token that was decided, after the rejected drafts at its position; of a tree, whose branches are many,
        those that directly follow the accepted path."""
        rest = b""  # of a character that has not ended
        for step in rounds:
            tree = bool(step.parents)
            for position, rejected in enumerate(step.rejected):
                aside = rest
                for token in rejected:  # of a chain one after another, of a tree instead of one another
                    piece, after = self._spell("rejected", token, aside)
                    aside = rest if tree else after
                    yield piece
                accepted = position < step.accepted
                for token in step.tokens[position : position + 1 if accepted else None]:
                    piece, rest = self._spell("accepted" if accepted else "own", token, rest)
                    yield piece

    def _spell(self, way: str, token: int, rest: bytes) -> tuple[Piece, bytes]:
        if token in self.words:
            return Piece(way, self.words[token], False), b""
        name = str(self.tokenizer.convert_ids_to_tokens(token))
        if not self.special.is_text(token):
            return Piece(way, name, True), b""
        known = rest + bytes(self.bytes[character] for character in name)
        text, length = codecs.utf_8_decode(known, "replace", False)
        return Piece(way, text, False), known[length:]


def contest_html(contest: Contest, spelling: Spelling, setting: str) -> str:
    """`setting`: under what the clocks ran, for the small print."""
    longest = max(contest.main.seconds, contest.pair.seconds, 1e-9)
    sides = "".join(
        _side(contest, side, title, longest, spelling)
        for side, title in ((contest.main, "The main alone"), (contest.pair, "The pair"))
    )
    small = (
        f"{contest.seconds:.1f} s of speech, transcribed by one after the other, once each, after a warm-up. The clocks"
        f" count from spectrogram to tokens; {setting}."
    )
    return (
        f'<div class="contest themed">{_progress(contest)}<div class="sides">{sides}</div>{_legend()}'
        f'<p class="faint">{escape(small)}</p></div>'
    )


def sentence_html(sentence: str, role: str = "alert") -> str:
    """A mistake in the input, or the first step."""
    return f'<div class="contest themed"><p class="verdict sentence" role="{role}">{escape(sentence)}</p></div>'


def _progress(contest: Contest) -> str:
    """Above the sides: what is running, and in the end whether both texts are the same."""
    more = ""
    if len(contest.windows) > 1:
        more = f'<p class="faint">Longer than the main\'s window: cut at quiet places into {len(contest.windows)}.</p>'
    if contest.stopped:
        return '<p class="verdict">Stopped.</p>' + more
    if not contest.done:
        if contest.pair.began:
            doing = "The pair is transcribing."
        elif contest.main.began:
            doing = "The main alone is transcribing."
        else:
            doing = "Warming up, off the clock."
        return f'<p class="verdict going">{doing}</p>' + more
    return _verdict(contest) + more


def _verdict(contest: Contest) -> str:
    main, pair = contest.main, contest.pair
    ratio = main.seconds / pair.seconds
    took = f"{_seconds(pair.seconds)}, the main alone {_seconds(main.seconds)}"
    pace = f"The pair took {took}: <b>{ratio:.2f}x</b> as fast."
    if pair.drafted == 0:
        pace += " By the engine's measurements drafting does not pay off here, so it drafted nothing."
    position = contest.first_difference
    if position is None:
        same = f"<b>Identical text:</b> all {len(main.tokens)} token ids are the same."
        return f'<p class="verdict same" role="status">{same} {pace}</p>'
    why = (
        "In half precision a near tie can fall either way; whisper-pair evaluate shows whether it was one."
        if contest.half
        else "In float32 this must not happen: please report it."
    )
    return (
        '<p class="verdict different" role="alert"><b>NOT THE SAME TEXT:</b> the token ids differ from token'
        f" {position + 1} of {len(main.tokens)}. {why} {pace}</p>"
    )


def _side(contest: Contest, side: Side, title: str, longest: float, spelling: Spelling) -> str:
    encoder, decoder = side.encoder.seconds, side.decoder.seconds
    running = side.began and not side.done and not contest.stopped
    kind = "pair" if side.drafting else "main"
    language = f' lang="{escape(contest.language)}"' if contest.language else ""
    return (
        f'<section class="side {kind}{" running" if running else ""}"><h2>{title}</h2>'
        f'<p class="clock">{_seconds(encoder + decoder)}</p>'
        f'<div class="bar"><i class="encoder" style="width:{100 * encoder / longest:.1f}%"></i>'
        f'<i class="decoder" style="width:{100 * decoder / longest:.1f}%"></i></div>'
        f'<p class="parts"><span><i class="encoder"></i>encoder {_seconds(encoder)}</span>'
        f'<span><i class="decoder"></i>tokens {_seconds(decoder)}</span></p>'
        f'<p class="transcript" dir="auto"{language}>{_text(side, spelling)}</p>'
        f'<dl class="figures">{_figures(contest, side)}</dl></section>'
    )


def _text(side: Side, spelling: Spelling) -> str:
    return "".join(_token(piece) for piece in spelling.pieces(list(side.rounds)))


def _token(piece: Piece) -> str:
    tag = "del" if piece.way == "rejected" else "span"
    if piece.special:
        return f'<{tag} class="{piece.way} special" title="{escape(piece.text)}"></{tag}>'
    return f'<{tag} class="{piece.way}">{escape(piece.text)}</{tag}>'


def _figures(contest: Contest, side: Side) -> str:
    """The words of report.json: acceptance_rate, mean_accepted_length, rtfx."""
    rounds, drafted, accepted = len(side.rounds), side.drafted, side.accepted
    figures = {"tokens": str(len(side.tokens)), "rounds": str(rounds)}
    if side.drafting:
        figures["drafts accepted"] = f"{accepted} of {drafted}" + (f" ({accepted / drafted:.0%})" if drafted else "")
        figures["tokens per round"] = f"{1 + accepted / rounds:.2f}" if rounds else "-"
    if side.done:
        figures["times real time"] = f"{contest.seconds / side.seconds:.1f}"
    return "".join(f"<div><dt>{name}</dt><dd>{figure}</dd></div>" for name, figure in figures.items())


def _legend() -> str:
    marks = (_token(Piece(way, meaning, False)) for way, meaning in LEGEND.items())
    return f'<p class="legend transcript">{" ".join(marks)}</p>'


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"
