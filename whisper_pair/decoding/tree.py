"""Trees of drafts: several choices at one position, so that a round goes on where the draft's first choice is wrong.

A node of the tree is one drafted token. It is named by its path: the ranks of the draft's choices that lead to it, so
(1, 0) is the first choice after the second choice after the row's last token. A chain of drafts is the tree whose ranks
are all 0. The tree is fixed while the tokens on it change, so shapes are fixed too (SpecInfer, 2305.09781; Sequoia,
2402.12374).

            last token                  one draft pass a level, over the nodes that have children;
            /    |    \                 one main pass over all nodes, each seeing the row's text and its ancestors;
          (0)   (1)   (2)               kept is the longest path on which every token is the main's own choice.
         /   \    |
     (0,0) (0,1) (1,0)

Nodes are numbered level by level; within a level those that have children come first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

from ..errors import InputError

MOST_NODES = 32
MOST_RANKS = 8  # choices of the draft at one position

Path = tuple[int, ...]


class Level(NamedTuple):
    """The nodes of one depth."""

    start: int  # the number of the first one
    size: int
    fed: int  # the first so many have children: the draft is fed these
    ranks: int  # how many of the draft's choices are needed at each parent
    choices: tuple[int, ...]  # [size] the node's token in the parents' choices, in one row: parent x ranks + rank


@dataclass(frozen=True)
class DraftTree:
    """Made by `of` or `chain`, which put the paths in order."""

    paths: tuple[Path, ...]

    @classmethod
    def of(cls, paths: Iterable[Sequence[int]]) -> "DraftTree":
        """Raises InputError unless every path's beginning is a path too, and nodes and ranks are few enough."""
        given = {tuple(path) for path in paths}
        if not given or len(given) > MOST_NODES:
            raise InputError(f"a tree of {len(given)} drafts, expected 1 to {MOST_NODES}")
        for path in given:
            if not path or not all(type(rank) is int and 0 <= rank < MOST_RANKS for rank in path):
                raise InputError(f"a tree's path is {list(path)}, expected ranks from 0 to {MOST_RANKS - 1}")
            if len(path) > 1 and path[:-1] not in given:
                raise InputError(f"a tree has the path {list(path)} and not {list(path[:-1])}, which leads to it")
        inner = {path[:-1] for path in given}
        return cls(tuple(sorted(given, key=lambda path: (len(path), path not in inner, path))))

    @staticmethod
    @cache
    def chain(length: int) -> "DraftTree":
        """The draft's first choices alone; of length 0: nothing is drafted."""
        return DraftTree(tuple((0,) * depth for depth in range(1, length + 1)))

    @classmethod
    def of_text(cls, text: str) -> "DraftTree":
        """From `text`. Raises InputError for what is none."""
        return cls.of([[int(rank) if rank.isdecimal() else -1 for rank in path] for path in text.split()])

    @property
    def text(self) -> str:
        """The paths in order, a digit a rank: "0 1 00"."""
        return " ".join("".join(map(str, path)) for path in self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def is_chain(self) -> bool:
        """Is only the draft's first choice taken everywhere?"""
        return len(self.paths) == self.depth and all(rank == 0 for rank in self.ranks)

    @cached_property
    def depth(self) -> int:
        """Draft passes, and the most tokens that can be accepted."""
        return len(self.paths[-1]) if self.paths else 0

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """[nodes] 1 for those after the row's last token."""
        return tuple(map(len, self.paths))

    @cached_property
    def ranks(self) -> tuple[int, ...]:
        """[nodes]"""
        return tuple(path[-1] for path in self.paths)

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """[nodes] the parent's number; -1: the row's last token."""
        number = {path: index for index, path in enumerate(self.paths)} | {(): -1}
        return tuple(number[path[:-1]] for path in self.paths)

    @cached_property
    def nodes(self) -> frozenset[Path]:
        """The paths, to look one up."""
        return frozenset(self.paths)

    @cached_property
    def is_parent(self) -> tuple[bool, ...]:
        """[nodes]"""
        parents = set(self.parents)
        return tuple(node in parents for node in range(len(self)))

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """[depth]"""
        levels, above = [], -1  # the first node of the level above
        for depth in range(1, self.depth + 1):
            nodes = [node for node, its in enumerate(self.depths) if its == depth]
            ranks = 1 + max(self.ranks[node] for node in nodes)
            choices = tuple((self.parents[node] - above) * ranks + self.ranks[node] for node in nodes)
            levels.append(Level(nodes[0], len(nodes), sum(self.is_parent[node] for node in nodes), ranks, choices))
            above = nodes[0]
        return tuple(levels)

    def cut(self, depth: int) -> "DraftTree":
        """The tree's first levels."""
        return self if depth >= self.depth else DraftTree.of(path for path in self.paths if len(path) <= depth)

    def counted(self, room: int, ends: Sequence[Path]) -> list[bool]:
        """[nodes] Does the draft count: at most `room` deep, and after no path in `ends`, which end the text?"""
        if room >= self.depth and not ends:
            return [True] * len(self)
        return [
            len(path) <= room and not any(len(path) > len(end) and path[: len(end)] == end for end in ends)
            for path in self.paths
        ]
