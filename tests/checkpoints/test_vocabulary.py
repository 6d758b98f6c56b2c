"""Words added to the vocabulary, and rows of padding."""

from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file
from transformers import WhisperForConditionalGeneration

from distill.student import build_student
from tests.checkpoints.micro_checkpoint import add_words, speech
from whisper_pair import Pair
from whisper_pair.checkpoints.generation_config import (
    timestamps_of,
)
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.decoding.special_tokens import SpecialTokens
from whisper_pair.live.view import Spelling
from whisper_pair.text.token_text import text_of
from whisper_pair.training.target_tokens import TargetTokens


def say_instead(folder: Path, word_id: int, token: int) -> None:
    """The model says the added word where it said `token`."""
    weights = load_file(folder / "model.safetensors")
    words = weights["model.decoder.embed_tokens.weight"]
    words[word_id] = 1.2 * words[token]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_an_added_word_is_written_in_every_output(main, tmp_path):
    pair = Pair.from_pretrained(str(main), None)
    (before,) = pair.transcribe([speech()], language="nl")
    old, *_ = pair.engine.special.text(before.tokens)[2:]
    add_words(main, "Coëvorden")
    say_instead(main, 859, old)
    build_student(load_main(main, torch.float32), (0, 1, 3)).save_pretrained(tmp_path / "assistant")
    pair = Pair.from_pretrained(str(main), str(tmp_path / "assistant"))
    (transcribed,) = pair.transcribe([speech()], language="nl", draft_tokens=2)
    assert transcribed.tokens == [859 if token == old else token for token in before.tokens]
    assert transcribed.text == text_of(pair.processor.tokenizer, before.tokens).replace(
        text_of(pair.processor.tokenizer, [old]), "Coëvorden"
    ).strip()  # fmt: skip
    requested = {"language": "nl", "chunked": True, "timestamps": False, "draft_tokens": 2}
    (long,) = pair.transcribe_long([speech()], **requested, word_times=True)
    assert long.text == transcribed.text
    assert "".join(word.text for segment in long.segments for word in segment.words).strip() == transcribed.text
    spelling = Spelling(pair.processor.tokenizer, pair.engine.special)
    assert tuple(spelling._spell("own", 859, b"")[0]) == ("own", "Coëvorden", False)


def test_the_space_before_an_added_word_belongs_to_it(main):
    from whisper_pair.longform.alignment import words

    add_words(main, "Coëvorden")
    special, tokenizer = SpecialTokens.of(load_main(main, torch.float32)), load_processor(main).tokenizer
    tokens = tokenizer(" een Coëvorden twee", add_special_tokens=False).input_ids
    found = words(tokenizer, tokens, list(map(float, range(len(tokens) + 1))), 0.0, special, "nl")
    assert [word.text for word in found][-2:] == [" Coëvorden", " twee"]
    place = tokens.index(859)
    assert (found[-2].start, found[-2].end) == (place - 1, place + 1)


def test_added_words_are_trained_and_times_end_where_the_window_ends(main):
    from whisper_pair.data.clips import Clip, Window

    add_words(main, "Kaatsheuvel")
    targets = TargetTokens.of(load_main(main, torch.float32), load_processor(main).tokenizer, "nl", "transcribe")
    clip = Clip("a", Path("none"), 4.1, "in Kaatsheuvel", None)
    tokens, prefix = targets.human(Window((clip,), 0.0, timestamps=True))
    assert 859 in tokens[prefix:]
    assert tokens[-2] == 858 == targets.special.timestamps[-1]  # <|4.00|>, and not the word after it


def test_padding_is_never_decoded(main):
    model = WhisperForConditionalGeneration.from_pretrained(main)
    model.resize_token_embeddings(896, mean_resizing=False)
    with torch.no_grad():
        model.model.decoder.embed_tokens.weight[859:] = 30 * model.model.decoder.embed_tokens.weight[:37]
    model.generation_config._from_model_config = False
    model.save_pretrained(main)
    pair = Pair.from_pretrained(str(main), None)
    features = pair.log_mel(pair.log_mel.pad([speech()]))
    assert set(range(859, 896)) <= set(pair.engine.special.suppressed)
    assert pair.engine.special.words == frozenset()
    (transcribed,) = pair.transcribe([features[0]], language="nl")
    message = pair.main.generate(features, language="nl", task="transcribe", num_beams=1)[0].tolist()
    assert pair.engine.special.text(transcribed.tokens) == pair.engine.special.text(message)
    assert max(transcribed.tokens) < 859


def test_special_tokens_that_were_added_are_no_words(main):
    add_words(main, "<speaker>", special=True)
    add_words(main, "Kaatsheuvel")
    special = SpecialTokens.of(load_main(main, torch.float32))
    assert (special.kind(859), special.kind(860), special.words) == ("special", "text", {860})


def test_words_that_stand_where_the_times_would_leave_no_times():
    """A tokenizer of 2022 gave the first added word the id of <|0.00|>."""
    names = {"<|endoftext|>": 550, "<|notimestamps|>": 657}
    old = SimpleNamespace(get_vocab=lambda: names)
    assert timestamps_of(old, 657, 859) == range(658, 859)
    names["Kaatsheuvel"] = 658
    assert timestamps_of(old, 657, 859) == range(658, 658)
