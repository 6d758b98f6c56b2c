"""A pair of a released shape with random weights and *scripted* acceptance, to measure speed where there is no pair.

The main's position embeddings make it write a recorded text for any audio. The draft's real forward is run for its
cost; then its first choice is the recorded token with probability alpha and a wrong one otherwise, independently for
every row and position. Where it is wrong, the recorded token is its second, third or fourth choice as often as a real
pair's (LATER), which decides what trees of drafts win. So speed is measured as a function of agreement; nothing is said
about the agreement of any real pair.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import GenerationConfig, WhisperConfig, WhisperForCausalLM, WhisperForConditionalGeneration

from whisper_pair.decoding import Engine, LogitsRules, Options, TokenHistory

ALPHAS = (0.7, 0.8, 0.9, 0.95)
LATER = (0.28, 0.17, 0.12)  # of the tokens that no earlier choice is, those that the second, third, fourth is: measured
OTHERS: dict[str, dict[str, bool]] = {  # engines that are built otherwise than by default
    "compiled": {"compile": True},
    "kernels": {"kernels": True},
    "waiting": {"ahead": False},  # each round is read before the next is submitted
    "always-ahead": {"ahead": True},
    "side-stream": {"side_stream": True},
}
PREFIX = 4  # <|startoftranscript|> <|language|> <|task|> <|notimestamps|>
TOWARDS = 500.0  # the norm of a position embedding: what 32 random layers add is well below


@dataclass(frozen=True)
class Shape:
    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    mel_bins: int
    frames: int
    text: int  # text tokens
    decoded: int  # tokens of the recorded text
    draft_layers: int = 2


SHAPES = {
    "large-v3": Shape(1280, 20, 32, 32, mel_bins=128, frames=1500, text=50256, decoded=96),
    "micro": Shape(128, 4, 2, 8, mel_bins=80, frames=300, text=600, decoded=40, draft_layers=1),  # the demo's
    "tiny-test": Shape(32, 2, 1, 4, mel_bins=8, frames=30, text=200, decoded=12),
}


class ScriptedRules(LogitsRules):
    """The draft's rules for the engine; its choice is made, at its cost, and then replaced."""

    script: Tensor  # [positions]
    ranks: Tensor  # [rows, positions] which of the draft's choices the recorded token is; 0: the first

    def choose(self, logits: Tensor, history: TokenHistory, begins: bool = True) -> Tensor:
        own = super().choose(logits, history, begins)
        position = history.decoded.clamp(0, len(self.script) - 1)  # [B, 1]
        return self.script[position] + (self.ranks[: len(own)].gather(1, position) > 0) + 0 * own

    def choose_several(self, logits: Tensor, history: TokenHistory, count: int, begins: bool = True) -> Tensor:
        own = super().choose_several(logits, history, count, begins)  # [B, T, count]
        if count == 1:
            return own
        position = history.decoded.clamp(0, len(self.script) - 1)  # [B, 1]
        word, rank = self.script[position][..., None], self.ranks[: len(own)].gather(1, position)[..., None]
        order = torch.arange(count, device=own.device)
        others = torch.where(order == 0, word + 1, word - order)
        return torch.where(order == rank, word, others) + 0 * own


class ScriptedAssistant(WhisperForCausalLM):
    """The same for transformers, whose assisted batch is 1: the scripted token's logit is made the greatest."""

    script: Tensor
    ranks: Tensor

    def forward(self, input_ids=None, attention_mask=None, encoder_outputs=None, past_key_values=None, **kwargs):
        before = past_key_values.get_seq_length() if past_key_values is not None else 0
        output = super().forward(input_ids, attention_mask, encoder_outputs, past_key_values=past_key_values, **kwargs)
        place = min(max(before + input_ids.shape[1] - PREFIX, 0), len(self.script) - 1)
        output.logits[:, -1, self.script[place] + (self.ranks[0, place] > 0)] = torch.finfo(output.logits.dtype).max
        return output


@dataclass
class ScriptedPair:
    main: WhisperForConditionalGeneration
    draft: ScriptedAssistant
    engine: Engine
    features: Tensor  # [n, mel, frames]
    decoded: int  # tokens a window

    def set_alpha(self, alpha: float) -> None:
        """In place, for captured graphs hold the table."""
        table = self.draft.ranks
        generator = torch.Generator().manual_seed(int(alpha * 1000))
        ranks = (torch.rand(table.shape, generator=generator) >= alpha).long()
        for later, share in enumerate(LATER, 1):
            ranks += (ranks == later) & (torch.rand(table.shape, generator=generator) >= share)
        table.copy_(ranks)


def scripted_pair(name: str, windows: int, device: str, dtype: torch.dtype) -> ScriptedPair:
    """A main of the shape and a draft of a few decoder layers over its encoder."""
    shape = SHAPES[name]
    torch.manual_seed(0)
    config = model_config(shape)
    small = copy.deepcopy(config)
    small.decoder_layers = shape.draft_layers
    with torch.device(device):
        main = WhisperForConditionalGeneration(config).to(dtype).eval()
        draft = ScriptedAssistant(small).to(dtype).eval()
    words = torch.randint(10, shape.text - 1, (config.max_target_positions,), device=device)
    learn(main, words)
    shared = {f"model.{name}": value for name, value in main.model.state_dict().items()}
    draft.load_state_dict({name: shared[name] for name in draft.state_dict() if name in shared}, strict=False)
    main.generation_config = generation_config(shape)
    end = main.generation_config.eos_token_id
    draft.generation_config.update(eos_token_id=end, bos_token_id=end, pad_token_id=end)

    draft.script = words
    draft.ranks = torch.zeros(64, len(words), dtype=torch.long, device=device)
    engine = script(Engine(main, draft), draft)
    features = torch.randn(windows, shape.mel_bins, 2 * shape.frames, device=device)

    options = Options(language="nl", draft_tokens=0, max_new_tokens=shape.decoded)
    if engine.decode(features[:1], options)[0].tokens != words[: shape.decoded].tolist():
        raise SystemExit("the scripted main does not write its script")
    return ScriptedPair(main, draft, engine, features, shape.decoded)


def script(engine: Engine, draft: ScriptedAssistant) -> Engine:
    """The engine of a scripted pair, its draft's choices replaced."""
    head, draft_head = engine.heads(timestamps=False)
    rules = ScriptedRules(engine.special, timestamps=False, vocabulary=None, device=engine.device)
    rules.script, rules.ranks = draft.script, draft.ranks
    engine.replace_heads(False, head, draft_head._replace(rules=rules))
    return engine


def other_engine(pair: ScriptedPair, name: str) -> Engine:
    """One of OTHERS, that knows what the pair's own engine knows of its rounds' times."""
    engine = script(Engine(pair.main, pair.draft, **OTHERS[name]), pair.draft)
    engine.round_times = pair.engine.round_times
    return engine


def learn(main: WhisperForConditionalGeneration, script: Tensor) -> None:
    """Point each position's embedding at the token that comes next."""
    with torch.no_grad():
        places = main.model.decoder.embed_positions.weight
        towards = main.model.decoder.embed_tokens.weight[script[: len(places) - PREFIX + 1]].float()
        places[PREFIX - 1 :] = (TOWARDS * towards / towards.norm(dim=1, keepdim=True)).to(places.dtype)


def model_config(shape: Shape) -> WhisperConfig:
    end = shape.text + 1
    return WhisperConfig(
        vocab_size=shape.text + 1610,  # end, start, 100 languages, 6 more special tokens and 1501 timestamps
        d_model=shape.width,
        encoder_layers=shape.encoder_layers,
        decoder_layers=shape.decoder_layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=4 * shape.width,
        decoder_ffn_dim=4 * shape.width,
        num_mel_bins=shape.mel_bins,
        max_source_positions=shape.frames,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )


def generation_config(shape: Shape) -> GenerationConfig:
    end = shape.text + 1
    return GenerationConfig(
        eos_token_id=end,
        bos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=end + 1,
        no_timestamps_token_id=shape.text + 108,
        prev_sot_token_id=shape.text + 106,
        suppress_tokens=[1, 2, end],  # no end: every window is decoded to the same length
        begin_suppress_tokens=[5],
        lang_to_id={"<|nl|>": end + 2},
        task_to_id={"transcribe": shape.text + 104, "translate": shape.text + 103},
        is_multilingual=True,
        return_timestamps=False,
        max_length=448,
    )
