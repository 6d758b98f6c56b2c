"""When each token was spoken: dynamic time warping of the cross-attention of the alignment heads.

The main reads its own text once more; where the heads that OpenAI found to follow the speech look, frame by frame, says
when each token ends (openai/whisper, timing.py; equal to transformers' `return_token_timestamps`).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import WhisperForConditionalGeneration

from ..checkpoints import default_alignment_heads, fits, say
from ..decoding import SpecialTokens
from ..text import text_of
from .recording import Word
from .segments import STEP


def alignment_heads(main: WhisperForConditionalGeneration) -> list[tuple[int, int]]:
    """(layer, head) of the cross-attention that follows the speech; a default where the main names none of its own."""
    heads = main.generation_config.to_dict().get("alignment_heads")
    if not fits(heads, main.config):
        say(
            "word times follow all heads of the upper half of the decoder's layers, since the main's generation_config "
            "has no alignment_heads of its own; those of the checkpoint it was fine-tuned from are more exact."
        )
        heads = default_alignment_heads(main.config)
    return [(layer, head) for layer, head in heads]


@torch.inference_mode()
def token_ends(
    main: WhisperForConditionalGeneration,
    states: Tensor,  # encoder states [R, F, d]
    prefixes: Sequence[Sequence[int]],
    tokens: Sequence[Sequence[int]],  # decoded after the prefix, the end of text included
    frames: Sequence[int],  # encoder frames that hold sound
) -> list[list[float]]:
    """Row by row, the second at which each token ends, from the window's begin."""
    heads = alignment_heads(main)
    fed = [[*prefix, *row[:-1]] for prefix, row in zip(prefixes, tokens, strict=True)]  # the last one is never fed
    longest = max(map(len, fed))
    padded = [row + [0] * (longest - len(row)) for row in fed]
    weights = attention(main, states, torch.tensor(padded, device=states.device), heads)  # [R, heads, T, F]
    width = main.config.median_filter_width
    ends = []
    for row, (prefix, decoded, count) in enumerate(zip(prefixes, tokens, frames, strict=True)):
        if len(decoded) < 2:
            ends.append([0.0] * len(decoded))
            continue
        times = jump_times(weights[row, :, len(prefix) : len(fed[row]), :count], width)
        ends.append([*times, times[-1]])
    return ends


def attention(main, states: Tensor, tokens: Tensor, heads: list[tuple[int, int]]) -> Tensor:
    """Cross-attention weights of some heads, computed from the queries and keys that pass by: [R, heads, T, F]."""
    passing: dict[tuple[int, str], Tensor] = {}
    hooks = [
        getattr(main.model.decoder.layers[layer].encoder_attn, name).register_forward_hook(
            lambda _module, _inputs, output, key=(layer, name): passing.__setitem__(key, output)
        )
        for layer in sorted({layer for layer, _ in heads})
        for name in ("q_proj", "k_proj")
    ]
    try:
        main.model.decoder(input_ids=tokens, encoder_hidden_states=states, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    size = main.config.d_model // main.config.decoder_attention_heads  # of a head
    chosen = []
    for layer, head in heads:
        own = slice(head * size, (head + 1) * size)
        query, key = passing[layer, "q_proj"][..., own], passing[layer, "k_proj"][..., own]
        chosen.append((query @ key.transpose(1, 2) * size**-0.5).softmax(-1))  # [R, T, F]
    return torch.stack(chosen, 1)


def jump_times(weights: Tensor, median_width: int) -> list[float]:
    """weights [heads, T, F] -> the seconds at which the warping path moves on to each of T rows."""
    weights = weights.float()
    centred = weights - weights.mean(-2, keepdim=True)
    matrix = centred / weights.std(-2, keepdim=True, unbiased=False).clamp(min=1e-30)  # one row alone: zeros
    matrix = median_filter(matrix, median_width).mean(0)  # [T, F]
    rows, frames = warping_path(-matrix.cpu().double().numpy())
    moves = np.diff(rows, prepend=-1) > 0
    return (frames[moves] * STEP).tolist()


def median_filter(values: Tensor, width: int) -> Tensor:
    """Along the last dimension, which is mirrored at its ends."""
    half = width // 2
    if values.shape[-1] <= half:
        return values
    return F.pad(values, (half, half), mode="reflect").unfold(-1, width, 1).sort()[0][..., half]


def warping_path(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest monotone path through costs [T, F], as (row, column) of each step.

    The diagonals are filled one after the other, each as a whole. Of equally cheap ways the one along a row is taken,
    as openai/whisper and transformers do.
    """
    rows, columns = costs.shape
    total = np.full((rows + 1, columns + 1), np.inf, dtype=np.float32)
    total[0, 0] = 0
    trace = np.full((rows + 1, columns + 1), 2, dtype=np.int8)  # 0: both move on, 1: the row, 2: the column
    trace[1:, 0] = 1
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        both, row, column = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
        way = np.where((both < row) & (both < column), 0, np.where((row < both) & (row < column), 1, 2))
        total[i, j] = costs[i - 1, j - 1] + np.choose(way, (both, row, column))
        trace[i, j] = way
    i, j, path = rows, columns, []
    while i > 0 or j > 0:
        path.append((i - 1, j - 1))
        way = trace[i, j]
        i, j = i - (way != 2), j - (way != 1)
    found = np.array(path[::-1])
    return found[:, 0], found[:, 1]


def words(
    tokenizer, tokens: Sequence[int], ends: Sequence[float], offset: float, special: SpecialTokens, language
) -> list[Word]:
    """Tokens of a segment and when each ends -> its words, on the recording's clock.

    `ends` has one more entry at its front: when the token before the segment's first one ended.
    """
    from transformers.models.whisper.tokenization_whisper import LANGUAGES, _combine_tokens_into_words

    spoken = [i for i, token in enumerate(tokens) if special.is_text(token)]
    if not spoken:
        return []
    name = LANGUAGES.get(language, "english")
    texts, groups, places = _combine_tokens_into_words(tokenizer, [tokens[i] for i in spoken], name)
    found, space, first = [], "", None
    for text, group, place in zip(texts, groups, places, strict=True):
        if not special.words.isdisjoint(group):
            text = text_of(tokenizer, group)
        first = spoken[place[0]] if first is None else first
        if (
            special.words and not text.strip() and place is not places[-1]
        ):  # the space before an added word is a token by itself
            space += text
            continue
        last = spoken[place[-1]]
        found.append(Word(space + text, round(offset + ends[first], 3), round(offset + ends[last + 1], 3)))
        space, first = "", None
    return found
