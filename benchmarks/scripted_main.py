"""A checkpoint of a released shape with random weights that writes the same text for any audio.

Stages and commands take it for any other Whisper, so that what they cost at a size can be measured where no weights of
that size are available. Its vocabulary has large-v3's size and order; its 50257 text tokens are the bytes and made-up
pairs of them. scripted_pair.py does the same for the engine alone, without files.
"""

from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperProcessor, WhisperTokenizer

from benchmarks.scripted_pair import learn
from whisper_pair.synthetic.micro import MicroWhisper, model_config, set_generation_config, whisper_tokenizer

SPACE = "Ġ"  # as byte-level BPE writes it
LARGE_V3 = MicroWhisper(30, 128, 1280, 20, encoder_layers=32, decoder_layers=32, vocabulary=50257, max_tokens=448)
MICRO = MicroWhisper(4, 80, 32, 2, encoder_layers=1, decoder_layers=3, vocabulary=600, max_tokens=128)


def scripted_main(
    out: Path, size: MicroWhisper, words: int, dtype: torch.dtype = torch.float16, device: str = "cpu"
) -> None:
    """Writes the checkpoint, stored in `dtype`; it writes `words` words, each a token, and then ends."""
    processor = WhisperProcessor(
        WhisperFeatureExtractor(feature_size=size.mel_bins, chunk_length=size.window), made_up_tokenizer(size)
    )
    torch.manual_seed(0)
    with torch.device(device):
        main = WhisperForConditionalGeneration(model_config(size, processor.tokenizer))
    set_generation_config(main, processor.tokenizer)
    learn(main, script(processor.tokenizer, words, main).to(device))
    main.to(dtype).save_pretrained(out)
    processor.save_pretrained(out)


def made_up_tokenizer(size: MicroWhisper) -> WhisperTokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    firsts = [SPACE, *(byte for byte in alphabet if byte != SPACE)]  # so that a short vocabulary has words too
    pairs = [(first, second) for first in firsts for second in alphabet]
    merges = pairs[: size.vocabulary - len(alphabet)]
    vocab = {token: number for number, token in enumerate([*alphabet, *(a + b for a, b in merges)])}
    return whisper_tokenizer(vocab, merges, size)


def script(tokenizer: WhisperTokenizer, words: int, main: WhisperForConditionalGeneration) -> torch.Tensor:
    """Token ids [positions]: words that differ, then the end."""
    end, banned = tokenizer.eos_token_id, set(main.generation_config.suppress_tokens)
    spoken = [i for i in range(end) if i not in banned and _is_word(tokenizer.convert_ids_to_tokens(i))]
    if len(spoken) < words:
        raise ValueError(f"the vocabulary has {len(spoken)} words, not {words}")
    with torch.no_grad():  # the padding token's embedding, which begins at zero, is the end's
        main.model.decoder.embed_tokens.weight[end].normal_(std=main.config.init_std)
    return torch.tensor(spoken[:words] + [end] * (main.config.max_target_positions - words))


def _is_word(token: str) -> bool:
    return len(token) == 2 and token[0] == SPACE and token[1].isascii() and token[1].isalpha()
