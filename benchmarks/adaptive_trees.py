"""Trees whose shape follows the draft's own probabilities, replayed on the main's text: what they would win.

A long chain where the draft is sure, branches where it is not (EAGLE-2, 2406.16858). At each level the BEAM nodes of
the greatest probability (the product along the path) are fed to the draft; the likeliest nodes of all levels are then
verified. Drafting ends early once the fed nodes together are less likely than a threshold. Since accepted paths are
the main's own text, one pass of the draft over that text gives the keys and values that every round sees, and the trees
of all rounds are grown beside it at once, without decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.crossed import Won
from whisper_pair.decoding import Costs, Decoder, between
from whisper_pair.decoding.decoder import Branches
from whisper_pair.decoding.kv_cache import Keys, KVCache
from whisper_pair.decoding.logits_rules import TokenHistory
from whisper_pair.decoding.model_state import Head

BEAM = 4  # nodes of a level that are fed to the draft, and choices taken at each
DEEPEST = 8
NODES = (8, 16, 32)
THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class GrownTrees:
    """Of one utterance of T tokens: the tree that the draft would grow at each."""

    scores: Tensor  # [T, D, nodes] log-probability of each node's path; -inf: none
    path: Tensor  # [T, D] that of the node on the main's own path; -inf: it is not among them
    fed: Tensor  # [T, D] the probability of the nodes of each level that are fed, together


@dataclass(frozen=True)
class Policy:
    """How an adaptive tree is cut from what was grown."""

    nodes: int  # verified at most
    depth: int  # draft passes at most
    threshold: float  # drafting goes on while the fed nodes together are at least so likely

    def __str__(self) -> str:
        ends = f"while {self.threshold:g} likely" if self.threshold else "always"
        return f"{self.nodes} nodes, {self.depth} deep {ends}"


POLICIES = [Policy(nodes, depth, least) for nodes in NODES for depth in range(1, DEEPEST + 1) for least in THRESHOLDS]
KINDS = {  # a captured graph drafts equally deep in every round; where the draft's sureness decides, the host must ask
    "as deep as it is sure": POLICIES,
    "equally deep": [policy for policy in POLICIES if policy.threshold == 0],
}


class Grower:
    """Grows the trees of a draft over texts."""

    def __init__(self, decoder: Decoder, head: Head, frames: int, depth: int = DEEPEST, beam: int = BEAM):
        self.decoder, self.head, self.depth, self.beam = decoder, head, depth, beam
        self.cache = KVCache(decoder, 1, frames)

    @torch.inference_mode()
    def grow(self, states: Tensor, prefix: Sequence[int], tokens: Sequence[int]) -> GrownTrees:
        """states [F, d], of the encoder that the draft reads; tokens: the main's own, after the prefix."""
        self.decoder.cross(states[None], self.cache.cross_views(1))
        text = torch.tensor([[*prefix, *tokens]])
        hidden = self.decoder.read(text, self.cache.cross_views(1), self.cache)[:, len(prefix) - 1 : -1]
        values, ids = self._choices(hidden, torch.arange(len(tokens))[None])  # of the first level [1, T, beam]
        room = self.cache.own.shape[2] - text.shape[1]
        at_once = max(1, room // (self.beam * max(1, self.depth - 1)))
        parts = [
            self._grow(values[0, part], ids[0, part], part, len(prefix), tokens)
            for part in (slice(at, at + at_once) for at in range(0, len(tokens), at_once))
        ]
        return GrownTrees(*(torch.cat([getattr(part, name) for part in parts]) for name in ("scores", "path", "fed")))

    def _grow(self, scores: Tensor, ids: Tensor, part: slice, prefix: int, tokens: Sequence[int]) -> GrownTrees:
        """scores, ids [S, beam]: the first level's, at S of the text's positions."""
        starts = torch.arange(len(tokens))[part]
        count, beam, length = len(starts), self.beam, prefix + len(tokens)
        keys = length + count * beam * (self.depth - 1)
        wanted = torch.tensor([*tokens, *[-1] * self.depth])
        on_path = ids == wanted[starts][:, None]  # [S, nodes] the whole path is the main's
        # What a node sees: the text before its start, and its ancestors.
        sees = (torch.arange(keys) < (prefix + starts)[:, None])[:, None].repeat(1, beam, 1)  # [S, beam, keys]
        found = GrownTrees(*(torch.full((count, self.depth, size), -torch.inf) for size in (beam * beam, 1, 1)))
        for level in range(self.depth):
            found.scores[:, level, : scores.shape[1]] = scores
            found.path[:, level, 0] = scores.masked_fill(~on_path, -torch.inf).amax(1)
            best = scores.masked_fill(ids == self.head.rules.end, -torch.inf).topk(beam)  # nothing follows an end
            found.fed[:, level, 0] = best.values.exp().sum(1)
            if level + 1 == self.depth:
                break
            chosen = best.indices  # [S, beam]
            ids, on_path = ids.gather(1, chosen), on_path.gather(1, chosen)
            if level:  # a node sees what its parent, of the beam before, sees
                sees = sees.gather(1, (chosen // beam)[..., None].expand(-1, -1, keys))
            slots = length + level * count * beam + torch.arange(count * beam).view(count, beam)
            sees = sees.scatter(2, slots[..., None], True)
            mask = torch.zeros(sees.shape).masked_fill_(~sees, -torch.inf).view(1, count * beam, keys)
            positions = (prefix + starts + level)[:, None].expand(count, beam).reshape(1, -1)
            branches = Branches(slots.view(1, -1), mask.to(self.decoder.dtype))
            hidden = self.decoder.step(
                self.cache, ids.reshape(1, -1), positions, Keys(keys, self.cache.frames), branches
            )
            values, next_ids = self._choices(hidden, torch.full(positions.shape, level + 1))
            follows = next_ids.view(count, beam, beam) == wanted[starts + level + 1][:, None, None]
            scores = (best.values[..., None] + values.view(count, beam, beam)).flatten(1)
            ids, on_path = next_ids.view(count, -1), (follows & on_path[..., None]).flatten(1)
        return GrownTrees(found.scores, found.path[..., 0], found.fed[..., 0])

    def _choices(self, hidden: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and ids of the draft's likeliest tokens: [1, positions, beam] twice."""
        none = torch.zeros_like(decoded)
        masked = self.head.rules.mask(self.head.logits(hidden), TokenHistory(none, none, decoded, none - 1))
        values, index = masked.log_softmax(-1).topk(self.beam)
        vocabulary = self.head.rules.vocabulary
        return values, index if vocabulary is None else vocabulary[index]


def accepted_and_time(grown: GrownTrees, policy: Policy, costs: Costs) -> tuple[list[int], list[float]]:
    """[T] of a round from each position: how many drafts are accepted, and its time in plain steps."""
    goes_on = (grown.fed[:, : policy.depth] >= policy.threshold).cumprod(1)
    levels = (1 + goes_on[:, : policy.depth - 1].sum(1)).clamp(max=policy.depth)  # [T] drafted
    drafted = torch.arange(policy.depth) < levels[:, None]  # [T, D]
    scores = grown.scores[:, : policy.depth].masked_fill(~drafted[..., None], -torch.inf).flatten(1)
    kept = scores.topk(min(policy.nodes, scores.shape[1])).values
    path = grown.path[:, : policy.depth]
    accepted = (drafted & (path > -torch.inf) & (path >= kept[:, -1:])).long().cumprod(1).sum(1)
    verified = (kept > -torch.inf).sum(1).tolist()
    step = costs.verify[0]
    times = [
        (count * costs.draft + between(costs.verify, nodes)) / step
        for count, nodes in zip(levels.tolist(), verified, strict=True)
    ]
    return accepted.tolist(), times


def won(found: Sequence[GrownTrees], policy: Policy, costs: Costs) -> Won:
    """Rounds over all utterances, each from where the one before it ended."""
    tokens = rounds = 0
    time = 0.0
    for each in found:
        accepted, times = accepted_and_time(each, policy, costs)
        at = 0
        while at < len(accepted):
            tokens, rounds, time = tokens + accepted[at] + 1, rounds + 1, time + times[at]
            at += accepted[at] + 1
    return Won(tokens, rounds, time)


def best_policy(found: Sequence[GrownTrees], costs: Costs, policies: Sequence[Policy] = POLICIES) -> Policy:
    """Of the greatest predicted speedup."""
    return max(policies, key=lambda policy: won(found, policy, costs).speedup)
