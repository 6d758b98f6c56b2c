"""Trees of drafts: how nodes are ordered, what is refused, and the constants that a round reads."""

import pytest
import torch
from hypothesis import given, settings

from tests.decoding.models import trees
from whisper_pair.decoding.kv_cache import KVCache
from whisper_pair.decoding.tree import DraftTree
from whisper_pair.decoding.tree_tensors import tensors_of
from whisper_pair.errors import InputError

CPU = torch.device("cpu")


@settings(deadline=None)
@given(tree=trees())
def test_nodes_are_ordered_by_level_and_parents_come_first_in_theirs(tree):
    assert list(tree.depths) == sorted(tree.depths)
    assert sum(level.size for level in tree.levels) == len(tree)
    for level in tree.levels:
        own = tree.is_parent[level.start : level.start + level.size]
        assert list(own) == sorted(own, reverse=True)
        assert sum(own) == level.fed
    for path, parent in zip(tree.paths, tree.parents, strict=True):
        assert path[:-1] == (tree.paths[parent] if parent >= 0 else ())
    assert DraftTree.of(tree.paths[::-1]) == tree == DraftTree.of_text(tree.text)


@settings(deadline=None)
@given(tree=trees())
def test_a_node_sees_the_text_before_the_tree_and_its_ancestors(tree):
    lengths = torch.tensor([[3], [7]])
    mask = tensors_of(tree, CPU).mask(lengths, 48, torch.float32)
    for row, (length,) in enumerate(lengths.tolist()):
        for node, path in enumerate(tree.paths):
            slots = [length + other for other, its in enumerate(tree.paths) if its == path[: len(its)]]
            seen = mask[row, node].isfinite().nonzero().flatten().tolist()
            assert seen == [*range(length), *slots]


@settings(deadline=None)
@given(tree=trees())
def test_the_accepted_path_is_the_longest_on_which_every_token_agrees(tree):
    generator = torch.Generator().manual_seed(len(tree))
    choices = torch.randint(0, 4, (20, len(tree) + 1), generator=generator)
    ranks = torch.tensor(tree.ranks)
    drafts = (ranks + torch.randint(0, 2, (20, 1), generator=generator)) % 4  # siblings differ
    found = tensors_of(tree, CPU).accepted(drafts, choices)
    for row in range(20):
        path, last = [], -1
        while True:
            agreeing = [
                node
                for node, parent in enumerate(tree.parents)
                if parent == last and drafts[row, node] == choices[row, last + 1]
            ]
            if not agreeing:
                break
            (last,) = agreeing
            path.append(last)
        rest = tree.depth - len(path)
        assert found.path[row].tolist() == path + [-1] * rest
        assert found.slots[row].tolist() == path + list(range(len(path), tree.depth))
        assert found.following[row] == choices[row, last + 1]


def test_keys_and_values_move_within_each_row_at_once():
    class Shape:
        dtype, device, layers, heads, width, positions = torch.float32, CPU, [None] * 2, 1, 4, 20

    cache = KVCache(Shape(), capacity=3, frames=2)
    cache.own.copy_(torch.arange(20.0)[None, None, :, None, None, None].expand_as(cache.own))
    cache.move_slots(torch.tensor([[5], [2]]), torch.tensor([[1, 4, 6], [2, 1, 2]]))
    held = cache.own[1, :, :, 0, 0, 0].long().tolist()
    assert held[0] == [0, 1, 2, 3, 4, 6, 9, 11, *range(8, 20)]
    assert held[1] == [0, 1, 4, 3, 4, *range(5, 20)]
    assert held[2] == list(range(20))


@pytest.mark.parametrize(
    ("paths", "match"),
    [
        ([], "a tree of 0 drafts, expected 1 to 32"),
        ([(rank % 8,) * (1 + rank // 8) for rank in range(33)], "a tree of 33 drafts"),
        ([(0,), (1, 0)], r"the path \[1, 0\] and not \[1\]"),
        ([(0,), (8,)], r"path is \[8\], expected ranks from 0 to 7"),
        ([(-1,)], "expected ranks"),
        ([(True,)], "expected ranks"),
        ([()], "expected ranks"),
    ],
)
def test_what_is_no_tree_is_refused(paths, match):
    with pytest.raises(InputError, match=match):
        DraftTree.of(paths)
    with pytest.raises(InputError, match="expected ranks"):
        DraftTree.of_text("0 0x")
