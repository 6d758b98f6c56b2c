"""The trees of drafts that suit a pair, beside the assistant's checkpoint, among which "auto" may choose.

Which trees win depends on which of the assistant's choices the main's tokens are. Validation counts that, and keeps a
few trees of growing size; what they cost is measured where the pair runs, and "auto" then takes one where it pays.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..runs import write_text

if TYPE_CHECKING:
    from ..decoding import DraftTree

DRAFT_TREES_FILE = "draft_trees.json"
MOST_TREES = 8  # each is timed, and on a GPU captured, wherever the pair runs


def save_draft_trees(trees: "list[DraftTree]", folder: Path) -> None:
    """Write the file, even if no tree ever wins: then "auto" drafts chains alone."""
    write_text(folder / DRAFT_TREES_FILE, json.dumps({"trees": [tree.text.split() for tree in trees]}) + "\n")


def load_draft_trees(folder: Path) -> "list[DraftTree] | None":
    """None where the assistant has no such file: then the engine's own trees serve. Raises InputError for a file that
    holds anything but a few trees."""
    from ..decoding import DraftTree

    path = folder / DRAFT_TREES_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["trees"]
        trees = [DraftTree.of_text(" ".join(paths)) for paths in found]
    except InputError as error:
        raise InputError(f"{path}: {error}; remove the file to draft the usual trees.") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: is not a list of draft trees; remove the file to draft the usual ones.") from error
    if len(trees) > MOST_TREES:
        raise InputError(f"{path}: has {len(trees)} trees, expected at most {MOST_TREES}; remove some.")
    return trees
