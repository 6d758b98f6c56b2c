"""Nested YAML -> frozen dataclasses: types, bounds and defaults are checked, and a mistake is named by its full path.

A config's schema is its dataclasses. Limits of a number or a text stand in the field's `Annotated` bound.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml

from ..errors import InputError
from .hints import meant_by


class Bound(NamedTuple):
    """A limit of a value, beyond its type."""

    expected: str
    holds: Callable[[float], bool]


LONGEST_NAME = 255  # bytes of a file's name on every usual system; the system's own error would be a traceback
DEEPEST, MOST = 50, 100_000  # nesting and parts of a config with its aliases expanded; ours have a few hundred


def parse_yaml(text: str) -> Any:
    """A YAML document. Raises ValueError or yaml.YAMLError; a few aliases of aliases that stand for billions of parts
    are refused before they are expanded."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        if node is not None and _parts(node, {}, DEEPEST) > MOST:
            raise ValueError(f"its aliases stand for more than {MOST:,} parts")
        return yaml.safe_load(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _parts(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """Number of parts of a node, itself included, with aliases expanded."""
    if depth == 0:
        raise ValueError("it is nested too deep")
    if id(node) not in known:
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        nodes = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        known[id(node)] = 1 + sum(_parts(child, known, depth - 1) for child in nodes)
    return known[id(node)]


def plain(value: Any) -> Any:
    """Dataclasses as mappings, tuples as lists, at any depth: what YAML can hold."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Sets key.sub=value in a nested YAML tree, in place. Raises InputError for one that has no place there."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"{override}: expected an override of the form key.sub=value.")
    try:
        value = parse_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{key}: {text!r} is not a YAML value.") from error
    *parents, last = key.split(".")
    node: Any = tree
    for depth, part in enumerate(parents):
        if isinstance(node, list):
            node = node[_list_index(node, part, ".".join(parents[:depth]))]
        elif isinstance(node, dict):
            _refuse_null(node, part, ".".join(parents[: depth + 1]), key)
            node = node.setdefault(part, {})
        else:
            raise InputError(f"{key}: {'.'.join(parents[:depth])} is {show(node)}, which has no key {part}.")
    if isinstance(node, list):
        node[_list_index(node, last, ".".join(parents))] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise InputError(f"{key}: {'.'.join(parents)} is {show(node)}, which has no key {last}.")


def _refuse_null(node: dict[str, Any], part: str, path: str, key: str) -> None:
    """An override of a part must not switch on what the file switches off."""
    if part in node and node[part] is None:
        raise InputError(f"{key}: {path} is null, which switches it off; to switch it on, put {path}={{}} before this.")


def _list_index(items: list[Any], part: str, path: str) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        raise InputError(f"{path}.{part}: expected an index from 0 to {len(items) - 1} into the list {path}.")
    return int(part)


def build(kind: type, tree: Any, path: str, root: type | None = None) -> Any:
    """A dataclass of class `kind` from nested YAML; `path`: its place in the config, whose class is `root`.

    Raises InputError, naming the full path, for a missing or unknown key and for a value of the wrong kind.
    """
    root = root or kind
    if not isinstance(tree, Mapping):
        raise InputError(f"{path}: expected keys and values, found {show(tree)}.")
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    prefix = f"{path}." if path else ""
    for key in tree:
        if key == "trust_remote_code":
            raise InputError(f"{prefix}{key}: code that comes with models or data is never run here; remove the key.")
        if key not in fields:
            raise InputError(f"{prefix}{key}: unknown key; {meant_by(key, fields, prefix, root)}.")
    values = {}
    for name, spec in fields.items():
        required = spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING
        if name in tree:
            values[name] = _convert(hints[name], tree[name], f"{prefix}{name}", root)
        elif required:
            raise InputError(f"{prefix}{name}: missing; expected {_expected(hints[name])}.")
    return kind(**values)


def _convert(hint: Any, value: Any, path: str, root: type) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        base, bound = args
        value = _convert(base, value, path, root)
        if not bound.holds(value):
            raise InputError(f"{path}: expected {bound.expected}, found {show(value)}.")
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        options = [option for option in args if option is not type(None)]
        chosen = next((o for o in options if _fits(o, value)), None)
        if chosen is None:
            raise InputError(f"{path}: expected {_expected(hint)}, found {show(value)}.")
        return _convert(chosen, value, path, root)
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{path}: expected a list, found {show(value)}.")
        return tuple(_convert(args[0], item, f"{path}.{i}", root) for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return build(typing.cast("type", hint), value, path, root)
    if hint is float:
        value = _number(value)
    if not _fits(hint, value):
        norwegian = " (Norwegian needs quotes: 'no')" if path == "language" and value is False else ""
        raise InputError(f"{path}: expected {_expected(hint)}, found {show(value)}{norwegian}.")
    if isinstance(value, str) and any(len(part.encode(errors="replace")) > LONGEST_NAME for part in value.split("/")):
        raise InputError(
            f"{path}: there is no such folder or file as {show(value)}, since a name has at most {LONGEST_NAME} bytes."
        )
    return value


def _number(value: Any) -> Any:
    """YAML 1.1 reads 3e-5, with no point, as text."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return value
    return value


def _fits(hint: Any, value: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint) and isinstance(value, str)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, list)
    if dataclasses.is_dataclass(hint):
        return isinstance(value, Mapping)
    if hint is float:
        number = _number(value)
        return isinstance(number, float) and number == number and abs(number) != float("inf")
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _expected(hint: Any) -> str:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return str(args[1].expected)
    if origin is Literal:
        return "one of " * (len(args) > 1) + ", ".join(args)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_expected(option) for option in args)
    if origin is tuple:
        return "a list"
    return names.get(hint, "keys and values")


def show(value: Any) -> str:
    """A value as an error message shows it: as YAML writes it, at most 60 characters."""
    if value is None:
        return "null"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def require(condition: bool, path: str, expected: str, found: Any) -> None:
    """Raises InputError for the key at `path` unless the condition holds."""
    if not condition:
        raise InputError(f"{path}: expected {expected}, found {show(found)}.")


def home(path: str) -> str:
    """`~/...` as the folder it stands for: a shell does not expand it after an equals sign, as in --output=~/x."""
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:  # no user of that name
        return path
