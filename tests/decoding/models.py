"""Tiny random Whispers whose outputs vary and end, assistants that half agree, and transformers' own answer."""

import copy
import math
import random
from contextlib import contextmanager

import torch
from hypothesis import strategies as st
from transformers import GenerationConfig, WhisperConfig, WhisperForCausalLM, WhisperForConditionalGeneration

from whisper_pair.decoding.tree import DraftTree

TEXT = 100  # tokens 0..99 are text, then the special ones in Whisper's order
END, START, NL, EN, FR, TRANSLATE, TRANSCRIBE, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = range(TEXT, TEXT + 10)
FIRST_TIMESTAMP = NO_TIMESTAMPS + 1
SIZE = FIRST_TIMESTAMP + 31
FRAMES, MELS, POSITIONS = 20, 8, 48
NEVER, ONCE_READ, ALWAYS = 0.0, 1e-12, math.inf  # when the next round is submitted: `Engine.ahead`


def tiny_whisper(
    seed: int = 0,
    layers: int = 3,
    heads: int = 2,
    width: int = 16,
    suppressed: tuple[int, ...] = (1, 2, START, PREVIOUS, NO_SPEECH),
    suppressed_first: tuple[int, ...] = (5, END),
    max_initial_timestamp: int | None = 12,
    multilingual: bool = True,
    end: float = 3.0,
) -> WhisperForConditionalGeneration:
    config = WhisperConfig(
        vocab_size=SIZE,
        d_model=width,
        encoder_layers=1,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        num_mel_bins=MELS,
        max_source_positions=FRAMES,
        max_target_positions=POSITIONS,
        pad_token_id=END,
        bos_token_id=END,
        eos_token_id=END,
        decoder_start_token_id=START,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config).eval()
    settings = GenerationConfig(
        eos_token_id=END,
        bos_token_id=END,
        pad_token_id=END,
        decoder_start_token_id=START,
        max_length=POSITIONS,
        suppress_tokens=list(suppressed) or None,
        begin_suppress_tokens=list(suppressed_first) or None,
        no_timestamps_token_id=NO_TIMESTAMPS,
        prev_sot_token_id=PREVIOUS,
        max_initial_timestamp_index=max_initial_timestamp,
        is_multilingual=multilingual,
        return_timestamps=False,
    )
    if multilingual:
        settings.lang_to_id = {"<|nl|>": NL, "<|en|>": EN, "<|fr|>": FR}
        settings.task_to_id = {"transcribe": TRANSCRIBE, "translate": TRANSLATE}
    model.generation_config = settings
    randomize(model, seed, end)
    return model


def randomize(model: torch.nn.Module, seed: int, end: float) -> None:
    """Weights large enough that position, history and audio all sway the next token (tied embeddings would repeat it).

    The final norm's bias points along the end of text's embedding, so that the end's logit is about `end` more.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "layer_norm" in name:
                weight.copy_(noise * 0.1 + (1.0 if name.endswith("weight") else 0.0))
            elif "decoder.embed_positions" in name:
                weight.copy_(noise * 2.0)
            elif "embed_tokens" in name:
                weight.copy_(noise * 0.5)
            elif weight.ndim == 1:
                weight.copy_(noise * 0.1)
            elif "encoder_attn.out_proj" in name:
                weight.copy_(noise * 4.0 / weight[0].numel() ** 0.5)
            else:
                weight.copy_(noise * 1.5 / weight[0].numel() ** 0.5)
        towards = model.model.decoder.embed_tokens.weight[END]
        model.model.decoder.layer_norm.bias.add_(towards * end / towards.square().sum())


def cut(
    main: WhisperForConditionalGeneration, layers: int | None = None, noise: float = 0.05, seed: int = 1
) -> WhisperForCausalLM:
    """A decoder-only assistant: the main's first layers (all: it half agrees; one: it hardly does), disturbed."""
    config = copy.deepcopy(main.config)
    config.decoder_layers = layers or main.config.decoder_layers
    draft = WhisperForCausalLM(config).eval()
    weights = {f"model.{name}": value for name, value in main.model.state_dict().items() if name.startswith("decoder")}
    draft.load_state_dict({name: value for name, value in weights.items() if name in draft.state_dict()}, strict=False)
    disturb(draft, noise, seed)
    return draft


def disturb(model: torch.nn.Module, noise: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".layers." in name and noise:
                weight.add_(torch.randn(weight.shape, generator=generator) * noise * weight.std())


def with_own_encoder(main: WhisperForConditionalGeneration, noise: float, seed: int = 1):
    draft = copy.deepcopy(main)
    disturb(draft, noise, seed)
    return draft


def features(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, MELS, 2 * FRAMES, generator=torch.Generator().manual_seed(seed)) * 2


def theirs(
    model: WhisperForConditionalGeneration, windows: torch.Tensor, prompt: list[int] | None = None, **kwargs
) -> list[list[int]]:
    """What transformers' greedy generate decodes of windows [n, mel, frames], the end of text included."""
    output = model.generate(
        windows,
        prompt_ids=torch.tensor([PREVIOUS, *prompt]) if prompt else None,
        return_dict_in_generate=True,
        force_unique_generate_call=True,
        num_beams=1,
        do_sample=False,
        **kwargs,
    )
    forced = 2 if model.generation_config.is_multilingual else 0
    forced += 0 if kwargs.get("return_timestamps") else 1
    rows = []
    for sequence in output.sequences.tolist():
        decoded = sequence[sequence.index(START) + 1 + forced :]
        rows.append(decoded[: decoded.index(END) + 1] if END in decoded else decoded)
    return rows


@st.composite
def trees(draw, nodes: int = 32, depth: int = 8) -> DraftTree:
    """Random trees of drafts, up to so many nodes and so deep; a chain now and then."""
    size, deepest, width = draw(st.integers(1, nodes)), draw(st.integers(1, depth)), draw(st.integers(1, 4))
    return random_tree(random.Random(draw(st.integers(0, 10**6))), size, deepest, width)


def random_tree(chance: random.Random, nodes: int, depth: int, width: int) -> DraftTree:
    paths, frontier = [], [(rank,) for rank in range(width)]
    while frontier and len(paths) < nodes:
        path = frontier.pop(chance.randrange(len(frontier)))
        paths.append(path)
        if len(path) < depth:
            frontier += [(*path, rank) for rank in range(width)]
    return DraftTree.of(paths)


@contextmanager
def packing(everything: bool = True):
    """Of layers as small as these, which are not worth it; for engines that are built inside."""
    import pytest  # not where a benchmark builds these models

    with pytest.MonkeyPatch.context() as patch:
        if everything:
            patch.setattr("whisper_pair.decoding.linear.WORTH", 0)
        yield
