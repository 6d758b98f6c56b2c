"""A repository's name on the Hub with a revision: owner/name@revision."""

import re

from ..errors import InputError

PINNED = re.compile(r"(\w[\w.-]*/\w[\w.-]*)@(.+)")


def named(name: str, revision: str | None = None) -> tuple[str, str | None]:
    """owner/name@revision as (owner/name, revision). Raises InputError where `revision` names another one."""
    found = PINNED.fullmatch(name)
    if found is None:
        return name, revision
    if revision not in (None, found[2]):
        raise InputError(f"{name}: names one revision, and {revision!r} is given beside it; give one.")
    return found[1], found[2]
