"""Whisper's hundred languages and the corpora that the Hub is known to hold for them, from languages.yaml."""

import difflib
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from ..errors import InputError

REGIONAL = re.compile(r"([a-z]{2,3})((-[a-z0-9]{2,8})+)([.@].*)?")  # pt-BR, zh-Hant-TW, nl_NL.UTF-8


@dataclass(frozen=True)
class Corpus:
    """One corpus in one language."""

    hub: str
    config: str
    hours: int  # of its training part, by its paper
    what: str
    licence: str
    text: str  # column
    style: str  # how its text is written
    written: bool  # whether it is as a reader would write it
    judges: bool  # its validation and test parts are of a size to be decoded in full
    speaker: str | None = None  # column
    revision: str | None = None
    audio: str | None = None  # column, where it is not called audio


@cache
def language_table() -> dict[str, Any]:
    """languages.yaml as it is."""
    return yaml.safe_load((files("whisper_pair.text") / "languages.yaml").read_text(encoding="utf-8"))


def code_of(language: str, key: str = "language") -> str:
    """Whisper's code of a language given by code (ja, JA), English or own name (Japanese, 日本語), regional (ja-JP,
    ja_JP) or former code (iw).

    Raises InputError for a language that Whisper does not know, naming the one that was likely meant; `key` is where
    it was given.
    """
    wanted, names = bare(language), known_names()
    spaced = wanted.replace("-", " ")
    found = names.get(wanted) or names.get(spaced) or names.get(spaced.partition(" (")[0])  # Portuguese (Brazil)
    if found is None and (regional := REGIONAL.fullmatch(wanted)):
        found = names.get(regional[1])
    if found is not None:
        return found
    near = nearest(wanted)
    hint = f"the nearest is {name_of(near)}, {near}" if near else "give a code such as nl, or a name such as Dutch"
    shown = " ".join(language.split())
    raise InputError(f"{key} {shown[:40]}: is not one of Whisper's {len(language_table()['languages'])}; {hint}.")


def nearest(wanted: str) -> str | None:
    """The code of the language that a mistyped name or a country's code is likely to mean; None where none is near."""
    if wanted in language_table()["mistaken"]:
        return language_table()["mistaken"][wanted]
    english = [bare(name) for name in (*language_table()["languages"].values(), *language_table()["aliases"])]
    for names in (english, known_names()):  # English first: dutsch is nearer to Deutsch than to Dutch
        written_out = [name for name in names if len(name) > 3]  # codes are near to everything
        if near := difflib.get_close_matches(wanted, written_out, n=1, cutoff=0.75):
            return known_names()[near[0]]
    return None


@cache
def known_names() -> dict[str, str]:
    """Every code and name in its bare form -> Whisper's code. The names of openai/whisper come first."""
    names = language_table()["languages"]
    found = {code: code for code in names} | {bare(name): code for code, name in names.items()}
    found = {bare(name): code for name, code in language_table()["aliases"].items()} | found
    return {bare(name): code for code, others in language_table()["also"].items() for name in others} | found


def bare(name: str) -> str:
    """A name without what people leave out or write in several ways: capitals, accents, spaces and underscores."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    latin = "".join(letter for letter in letters if not "\u0300" <= letter <= "\u036f")
    return " ".join(unicodedata.normalize("NFKC", latin).split()).replace("_", "-")


def name_of(code: str) -> str:
    """The English name of one of Whisper's codes."""
    return language_table()["languages"][code]


def corpora(code: str) -> list[Corpus]:
    """The corpora that the table has for a language, the largest first."""
    found = []
    for corpus in language_table()["corpora"].values():
        known = {key: value for key, value in corpus.items() if key != "languages"}
        if code in corpus["languages"]:
            config, hours = corpus["languages"][code]
            found.append(Corpus(config=config, hours=hours, **known))
    return sorted(found, key=lambda corpus: -corpus.hours)


@dataclass(frozen=True)
class OtherCorpus:
    """A corpus in one language that is named, but not put into a config."""

    what: str
    get: str  # how one comes by it
    licence: str
    style: str
    hours: int | None  # of all of it, by its paper or card; None: neither was seen


def other_corpora(code: str) -> list[OtherCorpus]:
    """The other corpora that the table names for a language, the largest first."""
    found = [
        OtherCorpus(other["what"], other["get"], other["licence"], other["style"], other["languages"][code])
        for other in language_table()["others"].values()
        if code in other["languages"]
    ]
    return sorted(found, key=lambda other: -(other.hours or 0))


def lacks(model: str, code: str) -> str | None:
    """Why one of OpenAI's checkpoints has not the language, by its name; None where it has, or is another's."""
    name = model.rpartition("/")[2].partition("@")[0].lower()
    if not name.startswith("whisper-") or (("/" in model) and not model.lower().startswith("openai/")):
        return None
    if name.endswith(".en"):
        return None if code == "en" else f"{model} knows English alone; its multilingual form is {model[:-3]}"
    if code == "yue" and name not in ("whisper-large-v3", "whisper-large-v3-turbo"):
        return f"{model} has no Cantonese (yue), which came with openai/whisper-large-v3; take that, or zh for Chinese"
    return None


def licence(hub: str) -> str | None:
    """The licence of a corpus of the table; None for another."""
    return next((corpus["licence"] for corpus in language_table()["corpora"].values() if corpus["hub"] == hub), None)
