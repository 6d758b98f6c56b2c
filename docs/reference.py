"""The reference pages, made from the code whenever the site is built, so that they cannot drift from it.

A hook of mkdocs (see mkdocs.yml): keys of a config from its dataclasses, whose comments are the reasons; commands from
their argument parsers; what Python exports from its docstrings, by mkdocstrings, and the fields of its dataclasses.
"""

import argparse
import dataclasses
import inspect
import io
import json
import os
import re
import tokenize
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from mkdocs.structure.files import File

import whisper_pair
from whisper_pair.cli import parser
from whisper_pair.config import Config


def on_files(files, config):
    for name, text in (("config", config_page()), ("commands", commands_page()), ("python", python_page())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


# Keys of a config


def config_page() -> str:
    parts = ["# Every key of a config\n", "Made from the schema. A key without a default must be given.\n"]
    for path, kind in sections(Config, ""):
        parts += [f"## {path or 'At the top'}\n", f"{inspect.getdoc(kind)}\n" if has_own_doc(kind) else ""]
        parts.append(table(kind))
    return "\n".join(parts)


def sections(kind: type, path: str) -> Iterator[tuple[str, type]]:
    """(where it is in a config, dataclass), depth first, each once."""
    yield path, kind
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if inner := dataclass_in(hint):
            yield from sections(inner, f"{path}.{name}" if path else name)


def table(kind: type) -> str:
    lines = ["| key | type | default | what it is, and why |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows(kind)), ""])


def rows(kind: type) -> Iterator[list[str]]:
    """Cells of a table's rows: key, type, default, reason."""
    hints, reasons = typing.get_type_hints(kind, include_extras=True), comments(kind)
    for field in dataclasses.fields(kind):
        yield [f"`{field.name}`", cell(type_name(hints[field.name])), default(field), cell(reasons.get(field.name, ""))]


def comments(kind: type) -> dict[str, str]:
    """Field -> its comment, of a dataclass and those that it inherits from."""
    found = {}
    for part in reversed([base for base in kind.__mro__ if dataclasses.is_dataclass(base)]):
        name, depth = None, 0
        for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(part)).readline):
            line = token.line
            if match := re.match(r"    (\w+): ", line):
                name = match[1] if depth == 0 else name
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.string, 0) if token.type == tokenize.OP else 0
            if token.type == tokenize.COMMENT and name:
                found[name] = " ".join(filter(None, [found.get(name), token.string.lstrip("# ")]))
            if re.match(r"    (def|@)", line):
                name = None
    return found


def dataclass_in(hint: Any) -> type | None:
    if dataclasses.is_dataclass(hint):
        return hint
    return next((found for part in typing.get_args(hint) if (found := dataclass_in(part))), None)


def type_name(hint: Any) -> str:
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return re.sub(r"^an? ", "", args[1].expected)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in args)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(type_name(option) for option in args)
    if origin is tuple:
        return f"list of {type_name(args[0])}"
    if origin is not None or hint not in plain:
        return "keys, see below" if dataclasses.is_dataclass(hint) else getattr(hint, "__name__", str(hint))
    return plain[hint]


def default(field: dataclasses.Field) -> str:
    if field.default is dataclasses.MISSING:
        return "" if field.default_factory is dataclasses.MISSING else "all of its own"
    match field.default:
        case None | True | False:
            return f"`{json.dumps(field.default)}`"
        case tuple():
            return f"`{list(field.default)}`"
        case _:
            return f"`{field.default}`"


def has_own_doc(kind: type) -> bool:
    return bool(kind.__doc__) and not kind.__doc__.startswith(f"{kind.__name__}(")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


# Commands


def commands_page() -> str:
    os.environ["COLUMNS"] = "100"  # argparse breaks lines by it
    whole = parser()
    parts = ["# Every command\n", "Made from the programs' own help.\n", fenced(whole)]
    for name, command in subparsers(whole).items():
        parts += [f"## whisper-pair {name}\n", fenced(command)]
    return "\n".join(parts)


def subparsers(whole: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(dict(a.choices) for a in whole._actions if isinstance(a, argparse._SubParsersAction))


def fenced(command: argparse.ArgumentParser) -> str:
    return f"```text\n{command.format_help()}```\n"


# Python


def python_page() -> str:
    parts = [
        "# From Python\n",
        "Everything that `whisper_pair` exports. In the literature's words a main is the *target* or *verifier* model,",
        "and an assistant is the *draft* model.\n",
    ]
    for name in whisper_pair.__all__:
        kind = getattr(whisper_pair, name)
        if not isinstance(kind, type):
            continue
        parts += [f"## {name}\n", f"::: whisper_pair.{name}\n    options: {json.dumps(SHOWN)}\n"]
        if dataclasses.is_dataclass(kind):
            parts.append(table(kind))
    return "\n".join(parts)


SHOWN = {"show_root_heading": False, "show_root_toc_entry": False, "show_source": False, "separate_signature": True,
         "heading_level": 3, "show_bases": False, "show_signature": True}  # fmt: skip
