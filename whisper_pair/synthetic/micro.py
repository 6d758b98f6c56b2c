"""A micro Whisper with random weights: every part that a released checkpoint has, small enough for a CPU.

The vocabulary is byte-level BPE followed by Whisper's special tokens in Whisper's order (openai/whisper, tokenizer.py;
large-v3's hundred languages), so the stock processor, model and `generate` accept it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)
from transformers.models.whisper.modeling_whisper import sinusoids
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from ..checkpoints import save_model
from ..runs import readable_to_others
from .grammar import distinct_sentences

POSITIONS_PER_SECOND = 50  # of the encoder: 100 mel frames a second, halved by its second convolution
TIMESTAMP_STEP = 0.02  # seconds
NON_SPEECH = '"#()*+/:;<=>@[\\]^_`{|}~'  # symbols that Whisper never writes
BRANCH_GAIN = 0.02  # strength of a residual branch before training
TEXTS = 5000  # sentences that the vocabulary is learned from


@dataclass(frozen=True)
class MicroWhisper:
    """The size of the model."""

    window: int = 4  # seconds of audio, whole: the feature extractor pads every clip to this
    mel_bins: int = 80
    width: int = 128
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 8
    vocabulary: int = 550  # text tokens, the 256 bytes among them; the grammar yields no more than 551
    max_tokens: int = 128  # positions of the decoder, prompt included


def build(out: Path, size: MicroWhisper, seed: int) -> None:
    """Writes a checkpoint that `from_pretrained` reads: weights (safetensors), configuration and processor."""
    extractor = WhisperFeatureExtractor(feature_size=size.mel_bins, chunk_length=size.window)
    processor = WhisperProcessor(extractor, tokenizer(size, seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = WhisperForConditionalGeneration(model_config(size, processor.tokenizer))
    quieten_branches(model)
    set_generation_config(model, processor.tokenizer)
    save_model(model, out)
    processor.save_pretrained(out)
    readable_to_others(out)


def tokenizer(size: MicroWhisper, seed: int) -> WhisperTokenizer:
    """Text tokens learned from the grammar's sentences, then Whisper's special tokens, then the window's timestamps."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=size.vocabulary, initial_alphabet=alphabet, show_progress=False)
    texts = (" " + text for text in distinct_sentences(Random(seed), TEXTS))  # Whisper's transcripts begin with a space
    learner.train_from_iterator(texts, trainer)
    learnt = json.loads(learner.to_str())["model"]
    return whisper_tokenizer(learnt["vocab"], [tuple(pair) for pair in learnt["merges"]], size)


def whisper_tokenizer(vocab: dict[str, int], merges: list[tuple[str, str]], size: MicroWhisper) -> WhisperTokenizer:
    """A byte-level vocabulary with all that follows the text tokens in large-v3."""
    whisper = WhisperTokenizer(vocab=vocab, merges=merges, pad_token="<|endoftext|>", model_max_length=size.max_tokens)
    whisper.add_special_tokens(
        {
            "extra_special_tokens": [
                "<|startoftranscript|>",
                *(f"<|{code}|>" for code in LANGUAGES),
                *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"),
                "<|notimestamps|>",
            ]
        }
    )
    steps = range(size.window * POSITIONS_PER_SECOND + 1)
    whisper.add_tokens([AddedToken(f"<|{step * TIMESTAMP_STEP:.2f}|>", normalized=False) for step in steps])
    return whisper


def model_config(size: MicroWhisper, tokenizer: WhisperTokenizer) -> WhisperConfig:
    """A configuration of that size, with the tokenizer's special tokens."""
    start: Any = tokenizer.convert_tokens_to_ids("<|startoftranscript|>")  # an int, of one token
    end = tokenizer.eos_token_id
    return WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=size.mel_bins,
        d_model=size.width,
        encoder_layers=size.encoder_layers,
        decoder_layers=size.decoder_layers,
        encoder_attention_heads=size.heads,
        decoder_attention_heads=size.heads,
        encoder_ffn_dim=4 * size.width,
        decoder_ffn_dim=4 * size.width,
        max_source_positions=size.window * POSITIONS_PER_SECOND,
        max_target_positions=size.max_tokens,
        init_std=size.width**-0.5,  # Whisper's own 0.02 suits a width of 1280
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=begin_suppress_tokens(tokenizer),
    )


def quieten_branches(model: WhisperForConditionalGeneration) -> None:
    """Scales down every residual branch, so that tokens and audio pass through ten layers at first.

    With branches at full strength the same model takes several times as many steps before it uses the audio. The idea
    is ReZero's (2003.04887); the branches are not quite zero, or their first gradients would be.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("out_proj.weight", "fc2.weight")):
                parameter.mul_(BRANCH_GAIN)
        positions = model.model.decoder.embed_positions.weight
        positions.copy_(model.config.init_std * sinusoids(*positions.shape))  # as the encoder's, but quieter than words


def begin_suppress_tokens(tokenizer: WhisperTokenizer) -> list[int]:
    """What a transcript cannot begin with: a lone space, or its end."""
    return [*tokenizer.encode(" ", add_special_tokens=False), tokenizer.eos_token_id]


def set_generation_config(model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizer) -> None:
    """All that multilingual `generate` reads, as OpenAI's checkpoints have it."""
    ids, end = tokenizer.convert_tokens_to_ids, tokenizer.eos_token_id
    symbols = [ids(token) for token in NON_SPEECH]
    control = ["translate", "transcribe", "startoftranscript", "startofprev", "startoflm", "nospeech"]
    config: Any = model.generation_config  # Whisper's own fields have no types
    config._from_model_config = False  # or reloading drops every field that is Whisper's own
    config.bos_token_id = config.eos_token_id = config.pad_token_id = end
    config.decoder_start_token_id = ids("<|startoftranscript|>")
    config.is_multilingual = True
    config.lang_to_id = {f"<|{code}|>": ids(f"<|{code}|>") for code in LANGUAGES}
    config.task_to_id = {task: ids(f"<|{task}|>") for task in ("transcribe", "translate")}
    config.prev_sot_token_id = ids("<|startofprev|>")
    config.no_timestamps_token_id = ids("<|notimestamps|>")
    config.return_timestamps = False
    config.max_initial_timestamp_index = round(1 / TIMESTAMP_STEP)  # the first word begins within a second
    config.max_length = model.config.max_target_positions
    config.suppress_tokens = sorted([*symbols, *(ids(f"<|{name}|>") for name in control)])
    config.begin_suppress_tokens = begin_suppress_tokens(tokenizer)
    layers, heads = model.config.decoder_layers, model.config.decoder_attention_heads
    config.alignment_heads = [[layer, head] for layer in range(layers // 2, layers) for head in range(heads)]
