"""A few seconds that show whether decoding is exact and how fast it is here: a random tiny pair against transformers.

Random weights end no sentence and know no language, which does not matter here: three ways of greedy decoding
(the engine alone, the engine with drafts, transformers' `generate`) must give the same tokens.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import WhisperForCausalLM, WhisperForConditionalGeneration

WINDOWS, TOKENS, DRAFT_TOKENS = 4, 48, 4
END, START, NO_TIMESTAMPS, SIZE = 1000, 1001, 1002, 1100  # text is below END, timestamps above NO_TIMESTAMPS


@dataclass(frozen=True)
class SelfTest:
    """What the self-test found on one device."""

    windows: int
    exact: bool  # all three gave the same tokens
    accepted: float  # share of the drafted tokens that were accepted
    greedy: float  # tokens a second of the engine alone, batch 1
    speculative: float  # the same with drafts
    transformers: float  # the same of transformers' generate


def self_test(device: str = "cpu") -> SelfTest:
    """Decodes random windows in three ways and compares tokens and speed."""
    from ..decoding import Engine, Options

    main, draft = random_pair(device)
    generator = torch.Generator().manual_seed(1)
    features = 2 * torch.randn(WINDOWS, main.config.num_mel_bins, 200, generator=generator).to(device)
    engine = Engine(main, draft)
    accepted = 0.0

    def decoded(draft_tokens: int) -> list[list[int]]:
        nonlocal accepted
        rows = engine.decode(features, Options(draft_tokens=draft_tokens, batch_size=1))
        if draft_tokens:
            accepted = sum(row.accepted for row in rows) / max(1, sum(row.drafted for row in rows))
        return [row.tokens for row in rows]

    runs: dict[str, Callable[[], list[list[int]]]] = {
        "greedy": lambda: decoded(0),
        "speculative": lambda: decoded(DRAFT_TOKENS),
        "transformers": lambda: [generated(main, window) for window in features],
    }
    found, speed = {}, {}
    for name, run in runs.items():
        run()  # warms up
        begun = _now(device)
        found[name] = run()
        speed[name] = sum(map(len, found[name])) / (_now(device) - begun)
    exact = found["greedy"] == found["speculative"] == found["transformers"]
    return SelfTest(WINDOWS, exact, accepted, speed["greedy"], speed["speculative"], speed["transformers"])


def random_pair(device: str) -> "tuple[WhisperForConditionalGeneration, WhisperForCausalLM]":
    """An English-only main of four layers, and an assistant of its first three."""
    from transformers import GenerationConfig, WhisperConfig, WhisperForCausalLM, WhisperForConditionalGeneration

    config = WhisperConfig(
        vocab_size=SIZE, d_model=64, num_mel_bins=16, encoder_layers=1, decoder_layers=4,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=128, decoder_ffn_dim=128,
        max_source_positions=100, max_target_positions=TOKENS, pad_token_id=END, bos_token_id=END, eos_token_id=END,
        decoder_start_token_id=START, suppress_tokens=None, begin_suppress_tokens=None, init_std=0.3,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        main = WhisperForConditionalGeneration(config)
        assistant = copy.deepcopy(config)
        assistant.decoder_layers = 3
        draft = WhisperForCausalLM(assistant)
        kept = {name: value for name, value in main.state_dict().items() if name in draft.state_dict()}
        draft.load_state_dict(kept, strict=False)
    main.generation_config = GenerationConfig(
        eos_token_id=END, bos_token_id=END, pad_token_id=END, decoder_start_token_id=START, max_length=TOKENS,
        no_timestamps_token_id=NO_TIMESTAMPS, is_multilingual=False, return_timestamps=False,
    )  # fmt: skip
    for model in (main, draft):
        nn.Module.to(model, device)
    return main.eval(), draft.eval()


def generated(main, window) -> list[int]:
    """transformers' greedy tokens after the forced prefix, the end included."""
    output = main.generate(
        window[None], return_dict_in_generate=True, force_unique_generate_call=True, num_beams=1, do_sample=False
    )
    decoded = output.sequences[0].tolist()[2:]  # start, no timestamps
    return decoded[: decoded.index(END) + 1] if END in decoded else decoded


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()
