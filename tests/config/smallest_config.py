"""The smallest config that is whole, and copies of it with one value changed."""

import copy

SPLITS = ("train", "validation", "test")
SMALLEST = {
    "language": "nl",
    "model": "openai/whisper-base",
    "output": "outputs/smallest",
    "data": {split: [{"folder": f"speech/{split}"}] for split in SPLITS},
}


def changed(path: str, value) -> dict:
    """SMALLEST with one value replaced."""
    tree = copy.deepcopy(SMALLEST)
    *parents, last = path.split(".")
    node = tree
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[int(last) if isinstance(node, list) else last] = value
    return tree
