"""Greedy decoding written as plainly as it can be: no cache, no batch, rules token by token over a list of logits."""

import torch
import torch.nn.functional as F
from transformers.modeling_outputs import BaseModelOutput

from tests.decoding.models import (
    END,
    FIRST_TIMESTAMP,
    NL,
    NO_TIMESTAMPS,
    POSITIONS,
    PREVIOUS,
    SIZE,
    START,
    TRANSCRIBE,
    TRANSLATE,
)


def forced_prefix(
    prompt: list[int] | None, timestamps: bool, task: str = "transcribe", language: int = NL
) -> list[int]:
    before = [PREVIOUS, *prompt[-(POSITIONS // 2 - 1) :]] if prompt else []
    after = [START, language, TRANSCRIBE if task == "transcribe" else TRANSLATE]
    return before + after + ([] if timestamps else [NO_TIMESTAMPS])


def allowed(model, decoded: list[int], logits: list[float], timestamps: bool) -> list[int]:
    """The token ids that the rules allow after `decoded`."""
    settings = model.generation_config
    ids = set(range(SIZE)) - set(settings.suppress_tokens or [])
    if not decoded:
        ids -= set(settings.begin_suppress_tokens or [])
    if not timestamps:
        return sorted(ids)
    ids.discard(NO_TIMESTAMPS)
    stamps = [token for token in decoded if token >= FIRST_TIMESTAMP]
    if not decoded:
        ids = {token for token in ids if token >= FIRST_TIMESTAMP}
        if settings.max_initial_timestamp_index is not None:
            ids = {token for token in ids if token <= FIRST_TIMESTAMP + settings.max_initial_timestamp_index}
    elif decoded[-1] >= FIRST_TIMESTAMP and (len(decoded) == 1 or decoded[-2] >= FIRST_TIMESTAMP):
        ids = {token for token in ids if token < FIRST_TIMESTAMP}
    elif decoded[-1] >= FIRST_TIMESTAMP:
        ids = {token for token in ids if token >= END and not FIRST_TIMESTAMP <= token < stamps[-1]}
    elif stamps:
        ids = {token for token in ids if not FIRST_TIMESTAMP <= token <= stamps[-1]}
    stamp_logits = torch.tensor([logits[token] for token in ids if token >= FIRST_TIMESTAMP])
    others = [logits[token] for token in ids if token < FIRST_TIMESTAMP]
    if len(stamp_logits) and (not others or torch.logsumexp(stamp_logits, 0) > max(others)):
        ids = {token for token in ids if token >= FIRST_TIMESTAMP}
    return sorted(ids)


def encoded(model, window: torch.Tensor) -> torch.Tensor:
    """Encoder states [1, F, d] of a window [mel, 2 F]; of a shorter one, which transformers refuses, layer by layer."""
    encoder = model.model.encoder
    if window.shape[1] == 2 * model.config.max_source_positions:
        return encoder(window[None]).last_hidden_state
    x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(window[None])))).permute(0, 2, 1)
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    for layer in encoder.layers:
        x = layer(x, attention_mask=None)
    return encoder.layer_norm(x)


@torch.no_grad()
def greedy(
    model,
    window: torch.Tensor,
    prompt: list[int] | None = None,
    timestamps: bool = False,
    max_new_tokens: int | None = None,
    task: str = "transcribe",
    language: int = NL,
) -> list[int]:
    prefix, decoded = forced_prefix(prompt, timestamps, task, language), []
    states = BaseModelOutput(encoded(model, window))
    limit = POSITIONS - len(prefix)
    if max_new_tokens is not None:
        limit = min(limit, max_new_tokens)
    while len(decoded) < limit and (not decoded or decoded[-1] != END):
        ids = torch.tensor([prefix + decoded])
        logits = model(encoder_outputs=states, decoder_input_ids=ids, use_cache=False).logits[0, -1].tolist()
        decoded.append(max(allowed(model, decoded, logits, timestamps), key=lambda token: logits[token]))
    return decoded
