"""Whisper's hundred languages and the corpora that the Hub is known to hold for them, from languages.yaml."""

import difflib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from .errors import InputError


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
    judges: bool  # its validation and test parts are of a size to be decoded in full
    speaker: str | None = None  # column
    revision: str | None = None
    audio: str | None = None  # column, where it is not called audio


@cache
def table() -> dict:
    return yaml.safe_load((files("whisper_pair") / "languages.yaml").read_text(encoding="utf-8"))


def code_of(language: str) -> str:
    """Whisper's code of a code or an English name. Raises InputError for a language that Whisper does not know."""
    names = table()["languages"]
    wanted = language.strip().lower()
    if wanted in names:
        return wanted
    by_name = {name.lower(): code for code, name in names.items()} | table()["aliases"]
    if wanted in by_name:
        return by_name[wanted]
    near = difflib.get_close_matches(wanted, [*by_name, *names], n=1, cutoff=0.0)[0]
    raise InputError(f"language {language}: is not one of Whisper's {len(names)}; the nearest is {near}.")


def name_of(code: str) -> str:
    return table()["languages"][code]


def corpora(code: str) -> list[Corpus]:
    """The largest first."""
    found = []
    for corpus in table()["corpora"].values():
        known = {key: value for key, value in corpus.items() if key != "languages"}
        if code in corpus["languages"]:
            config, hours = corpus["languages"][code]
            found.append(Corpus(config=config, hours=hours, **known))
    return sorted(found, key=lambda corpus: -corpus.hours)


def licence(hub: str) -> str | None:
    """Of a corpus of the table."""
    return next((corpus["licence"] for corpus in table()["corpora"].values() if corpus["hub"] == hub), None)
