"""What a checkpoint is: every part fits the others, or one sentence says which does not, before weights are loaded."""

import json
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AddedToken, WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperProcessor

from distill.student import build_student
from whisper_pair import Pair
from whisper_pair.checkpoints.check import merge_command
from whisper_pair.checkpoints.generation_config import (
    GPT2_END,
    NEUTRAL,
    WHISPER_END,
    default_alignment_heads,
    fits,
    is_multilingual,
    timestamps_of,
)
from whisper_pair.checkpoints.load import load_draft, load_main, load_processor, standalone_assistant
from whisper_pair.checkpoints.locate import checkpoint_folder
from whisper_pair.config.schema import load_config
from whisper_pair.decoding.special_tokens import SpecialTokens
from whisper_pair.errors import InputError
from whisper_pair.live.view import Spelling
from whisper_pair.synthetic.micro import MicroWhisper, build
from whisper_pair.text.token_text import text_of
from whisper_pair.training.target_tokens import TargetTokens

RATE = 16_000


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> Path:
    """A micro Whisper that says text of its own at every place, and ends it after nine tokens."""
    folder = tmp_path_factory.mktemp("stock") / "main"
    build(folder, MicroWhisper(decoder_layers=4, width=64), 1)
    weights = load_file(folder / "model.safetensors")
    words, places = weights["model.decoder.embed_tokens.weight"], weights["model.decoder.embed_positions.weight"]
    generator = torch.Generator().manual_seed(3)
    places.copy_(12 * words.std() * torch.randn(places.shape, generator=generator))
    end = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    words[end] = words.std() * torch.randn(words.shape[1], generator=generator)
    places[12:] = 60 * words[end]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    edit(folder, suppress_tokens=list(range(end + 1, words.shape[0])))
    return folder


@pytest.fixture
def main(stock, tmp_path) -> Path:
    return Path(shutil.copytree(stock, tmp_path / "main"))


def edit(folder: Path, file: str = "generation_config.json", **changes) -> None:
    """None removes a key."""
    tree = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(json.dumps({key: value for key, value in tree.items() if value is not None}))


def generation_config(folder: Path) -> dict:
    return json.loads((folder / "generation_config.json").read_text())


def speech(pitch: int = 3, seconds: float = 2.0) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * (120 + 17 * pitch) * t) * (1 + 0.5 * np.sin(6 * np.pi * t))).astype(np.float32)


def add_words(folder: Path, *words: str, resize: bool = True, **settings) -> None:
    """As its owner does it: add_tokens and resize_token_embeddings."""
    processor = WhisperProcessor.from_pretrained(folder)
    processor.tokenizer.add_tokens([AddedToken(word, **settings) for word in words] if settings else list(words))
    processor.save_pretrained(folder)
    if resize:
        model = WhisperForConditionalGeneration.from_pretrained(folder)
        model.resize_token_embeddings(len(processor.tokenizer), mean_resizing=False)
        model.generation_config._from_model_config = False
        model.save_pretrained(folder)


def refused(match: str, folder: Path) -> None:
    """At every door."""
    doors = (
        load_processor,
        lambda place: load_main(place, torch.float32),
        lambda place: Pair.from_pretrained(str(place), None),
    )
    for door in doors:
        with pytest.raises(InputError, match=match) as caught:
            door(folder)
        assert "\n" not in str(caught.value)


# --- tokenizer and feature extractor


@pytest.mark.parametrize("left", [(), ("vocab.json",)])
def test_a_checkpoint_without_a_tokenizer_is_refused_at_every_door(main, left):
    (main / "tokenizer.json").unlink()
    for name in left:  # the half of a tokenizer
        (main / name).write_text("{}")
    refused("has no tokenizer", main)


def test_nothing_is_trained_or_distilled_without_a_tokenizer(main, tmp_path, write_config):
    from distill.distil import distil
    from train.finetune import finetune

    (main / "tokenizer.json").unlink()
    for stage, train in ((finetune, {}), (distil, None)):
        config = load_config(write_config(tmp_path / "pair.yaml", model=str(main), train=train))
        with pytest.raises(InputError, match="has no tokenizer"):
            stage(config)
    assert not (tmp_path / "output").exists()


def test_a_tokenizer_of_2022_is_read_and_its_timestamps_are_known_all_the_same(stock, main):
    """It came as vocab.json, merges.txt and added_tokens.json, and named no timestamps."""
    parts = json.loads((main / "tokenizer.json").read_text())
    times = re.compile(r"<\|\d+\.\d+\|>")
    added = {a["content"]: a["id"] for a in parts["added_tokens"] if not times.fullmatch(a["content"])}
    (main / "vocab.json").write_text(json.dumps(parts["model"]["vocab"]))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in parts["model"]["merges"]]
    (main / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    (main / "added_tokens.json").write_text(json.dumps(added))
    (main / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": list(added)}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (main / name).unlink()
    edit(main, suppress_tokens=[], no_timestamps_token_id=None, lang_to_id=None, task_to_id=None, is_multilingual=None)
    ours, theirs = (SpecialTokens.of(load_main(folder, torch.float32)) for folder in (main, stock))
    assert len(load_processor(main).tokenizer) < len(load_processor(stock).tokenizer)
    assert (ours.timestamps, ours.words, ours.languages) == (theirs.timestamps, frozenset(), theirs.languages)


def test_a_tokenizer_that_goes_beyond_the_embeddings_is_refused(main):
    add_words(main, "Kaatsheuvel", resize=False)
    refused("has 'Kaatsheuvel' at 859, beyond the model's 859 embeddings", main)


def test_a_tokenizer_of_another_vocabulary_is_refused(main, tmp_path):
    build(tmp_path / "other", MicroWhisper(decoder_layers=2, width=64, vocabulary=500), 1)
    shutil.copy(tmp_path / "other" / "tokenizer.json", main)
    with pytest.raises(InputError, match=r"eos_token_id 550, but the tokenizer, .* <\|endoftext\|>, has it at 500"):
        load_main(main, torch.float32)


def test_the_feature_extractor_must_give_what_the_model_takes(main):
    WhisperFeatureExtractor(feature_size=128, chunk_length=4).save_pretrained(main)
    edit(main, "processor_config.json", feature_extractor={"feature_size": 128, "chunk_length": 4, "n_fft": 400,
         "hop_length": 160, "sampling_rate": RATE, "feature_extractor_type": "WhisperFeatureExtractor"})  # fmt: skip
    refused("feature_size 128, expected 80, the model's num_mel_bins", main)


def test_a_window_of_another_length_is_refused(main):
    edit(main, "processor_config.json", feature_extractor={"feature_size": 80, "chunk_length": 30, "n_fft": 400,
         "hop_length": 160, "sampling_rate": RATE, "feature_extractor_type": "WhisperFeatureExtractor"})  # fmt: skip
    refused("nb_max_frames 3000, expected 400", main)


def test_a_missing_feature_extractor_is_the_one_that_the_model_asks_for(stock, main, caplog):
    (main / "processor_config.json").unlink()
    heard = [Pair.from_pretrained(str(folder), None).transcribe([speech()], language="nl") for folder in (stock, main)]
    assert heard[0][0].tokens == heard[1][0].tokens
    assert "has no feature extractor; Whisper's for 80 mel bins and 4 s is taken" in caplog.text


# --- adapters


def test_an_adapter_without_its_base_is_refused_with_the_command_that_merges_it(stock, tmp_path):
    from peft import LoraConfig, get_peft_model

    model = WhisperForConditionalGeneration.from_pretrained(stock)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(InputError, match="holds a LoRA adapter and not a whole checkpoint") as caught:
        checkpoint_folder(str(tmp_path / "adapter"))
    merge = merge_command(str(stock), str(tmp_path / "adapter"), f"{tmp_path / 'adapter'}-merged")
    assert merge in str(caught.value)
    program, flag, code = shlex.split(merge)
    assert (program, flag) == ("python", "-c")
    exec(code, {})
    merged, base = (
        load_main(checkpoint_folder(f"{tmp_path / 'adapter'}-merged"), torch.float32),
        load_main(stock, torch.float32),
    )
    changed = [not torch.equal(a, b) for a, b in zip(merged.parameters(), base.parameters(), strict=True)]
    assert any(changed)
    assert SpecialTokens.of(merged) == SpecialTokens.of(base)


# --- generation configs


@pytest.mark.parametrize("kind", ["missing", "of 2022"])
def test_a_generation_config_is_completed_from_the_tokenizer(stock, main, kind, caplog):
    keys = ("lang_to_id", "task_to_id", "is_multilingual", "no_timestamps_token_id", "prev_sot_token_id")
    if kind == "missing":
        (main / "generation_config.json").unlink()
    else:
        edit(main, **dict.fromkeys(keys), forced_decoder_ids=[[1, 553], [2, 653], [3, 657]])
    edit(main, "config.json", max_length=20, forced_decoder_ids=[[1, 553], [2, 653], [3, 657]])
    model, wanted = load_main(main, torch.float32), load_main(stock, torch.float32)
    assert "lang_to_id, task_to_id completed from the tokenizer" in caplog.text
    for key in (*keys, "eos_token_id", "decoder_start_token_id"):
        assert getattr(model.generation_config, key) == getattr(wanted.generation_config, key), key
    pair = Pair.from_pretrained(str(main), None)
    features = pair.log_mel(pair.log_mel.pad([speech()]))
    for language in ("nl", None):
        (heard,) = pair.transcribe([features[0]], language=language, max_new_tokens=6)
        stock_said = model.generate(features, language=language, task="transcribe", max_new_tokens=6, num_beams=1,
                                    return_dict_in_generate=True, force_unique_generate_call=True)  # fmt: skip
        assert [*heard.decoded.prompt, *heard.tokens] == stock_said.sequences[0].tolist()


def test_what_was_completed_stays_with_a_checkpoint_that_is_saved(main, tmp_path):
    (main / "generation_config.json").unlink()
    model = load_main(main, torch.float32)
    model.save_pretrained(tmp_path / "saved")
    assert WhisperForConditionalGeneration.from_pretrained(tmp_path / "saved").generation_config.lang_to_id


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task_to_id": {"transcribe": 652, "translate": 653}}, r"task_to_id\['transcribe'\] 652"),
        ({"lang_to_id": {"<|nl|>": 552}}, r"lang_to_id\['<\|nl\|>'\] 552"),
        ({"no_timestamps_token_id": 656}, "no_timestamps_token_id 656"),
    ],
)
def test_ids_that_the_tokenizer_gives_to_others_are_refused(main, change, said):
    edit(main, **change)
    with pytest.raises(InputError, match=said) as caught:
        load_main(main, torch.float32)
    assert "remove generation_config.json" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"max_length": [', '{"suppress_tokens": 5}', '{"suppress_tokens": ["a"]}', '{"max_length": -1}'],
)
def test_a_generation_config_that_cannot_be_read_is_refused(main, content):
    (main / "generation_config.json").write_text(content)
    with pytest.raises(InputError, match=r"generation_config") as caught:
        load_main(main, torch.float32)
    assert str(main) in str(caught.value)


def test_the_librarys_default_length_cuts_no_transcript(stock, main, caplog):
    edit(main, max_length=20, max_new_tokens=3)
    model = load_main(main, torch.float32)
    said = caplog.text
    assert model.generation_config.max_length == SpecialTokens.of(model).max_length == 128
    assert "max_length 20, transformers' default, would cut transcripts and is taken as 128" in said
    assert "max_new_tokens=3 ignored" in said
    ours, theirs = (Pair.from_pretrained(str(f), None).transcribe([speech()], language="nl") for f in (main, stock))
    assert ours[0].tokens == theirs[0].tokens


def test_a_length_that_somebody_chose_holds_and_is_said(main, caplog):
    edit(main, max_length=7)
    (heard,) = Pair.from_pretrained(str(main), None).transcribe([speech()], language="nl")
    assert len(heard.tokens) == 7
    assert "max_length 7 ends transcripts before the model's 128 tokens" in caplog.text


def test_what_bends_likelihoods_in_transformers_is_ignored_and_said(stock, main, caplog):
    edit(main, repetition_penalty=3.0, no_repeat_ngram_size=1)
    model = load_main(main, torch.float32)
    assert "repetition_penalty=3.0, no_repeat_ngram_size=1 ignored" in caplog.text
    assert all(getattr(model.generation_config, key, None) in neutral for key, neutral in NEUTRAL.items())
    pair = Pair.from_pretrained(str(main), None)
    features = pair.log_mel(pair.log_mel.pad([speech()]))
    said = model.generate(features, language="nl", task="transcribe", num_beams=1)[0].tolist()
    assert [t for t in pair.transcribe([features[0]], language="nl")[0].tokens if t < 550] == [
        t for t in said if t < 550
    ]


def test_a_stock_checkpoint_is_loaded_without_a_word(stock, caplog):
    before = generation_config(stock)
    held = load_main(stock, torch.float32).generation_config.to_dict()
    assert {key: held[key] for key in before if key != "transformers_version"} == {
        key: value for key, value in before.items() if key != "transformers_version"
    }
    assert not caplog.records


# --- multilingual or not


def test_whether_a_model_is_multilingual_is_told_by_its_tokenizer_and_vocabulary():
    names = {"<|nl|>": 50_300, "<|en|>": 50_259, "<|transcribe|>": 50_359, "<|translate|>": 50_358}
    english, whole = {**names, "<|endoftext|>": GPT2_END}, {**names, "<|endoftext|>": WHISPER_END}
    for config in ({}, {"is_multilingual": True}, {"is_multilingual": False}, {"lang_to_id": {"<|nl|>": 50_300}}):
        assert not is_multilingual(english, config)
        assert is_multilingual(whole, config)
    own = {**names, "<|endoftext|>": 550}
    assert is_multilingual(own, {})
    assert not is_multilingual(own, {"is_multilingual": False})
    assert is_multilingual(own, {"is_multilingual": False, "lang_to_id": {"<|nl|>": 50_300}})
    assert not is_multilingual({"<|endoftext|>": 550, "<|en|>": 551}, {})  # no tasks


@pytest.fixture
def english(main) -> Path:
    """As OpenAI's .en models: the tokenizer names languages, of which the model knows nothing."""
    edit(main, lang_to_id=None, task_to_id=None, is_multilingual=False)
    (main / "normalizer.json").write_text(json.dumps({"colour": "color"}))
    return main


def test_an_english_only_main_is_asked_for_english_or_for_nothing(english):
    pair = Pair.from_pretrained(str(english), None)
    features = pair.log_mel(pair.log_mel.pad([speech()]))
    said = pair.main.generate(features, num_beams=1, return_dict_in_generate=True, force_unique_generate_call=True)
    for language in (None, "en", "English"):
        (heard,) = pair.transcribe([features[0]], language=language)
        assert [*heard.decoded.prompt, *heard.tokens] == said.sequences[0].tolist()
        assert len(heard.decoded.prompt) == 2
    with pytest.raises(InputError, match=r"'nl' is not one of this model's .*English-only"):
        pair.transcribe([features[0]], language="nl")
    with pytest.raises(InputError, match="English-only model, which can only transcribe"):
        pair.transcribe([features[0]], task="translate")


def test_an_english_only_main_goes_from_training_to_publication(english, tmp_path, write_config):
    from distill.distil import distil
    from eval.evaluate import evaluate
    from train.finetune import finetune
    from whisper_pair.publishing.release import release

    path = write_config(
        tmp_path / "pair.yaml", language="en", model=str(english),
        distill={"max_compression_ratio": None, "max_repeats": None, "max_tokens_per_second": None},
        eval={"draft_tokens": [2], "batch_sizes": [1], "timed_clips": 1, "repeats": 1, "long_form_minutes": 0},
    )  # fmt: skip
    config = load_config(path)
    finetune(config)
    distil(config)
    assert evaluate(config) == 0
    report = json.loads((tmp_path / "output" / "eval" / "report.json").read_text())
    assert report["identity"]["identical"] == report["identity"]["utterances"] > 0
    assert {row["engine"] for row in report["speed"]["rows"]} >= {"pair", "transformers"}
    pair = Pair.from_pretrained(str(tmp_path / "output"))
    assert pair.transcribe([speech()], language="en")[0].decoded.prompt == [551, 657]
    assert generation_config(tmp_path / "output" / "main")["is_multilingual"] is False
    for repository in release(config, "some/one", "two", standalone=True, whatever_the_verdict=True):
        card = repository.files["README.md"]
        card = card.decode() if isinstance(card, bytes) else card.read_text()
        assert 'task="transcribe"' not in card
        assert "generate_kwargs" not in card


# --- alignment heads


@pytest.mark.parametrize(
    "heads", [[[5, 1], [11, 2]], [[1, 9], [2, 11]], [[3, 0], [4, 0]], [], [[1]], "all", [[0.5, 1]]]
)
def test_alignment_heads_of_another_model_give_way_to_a_default(main, heads, caplog):
    edit(main, alignment_heads=heads)
    pair = Pair.from_pretrained(str(main), None)
    assert pair.main.generation_config.alignment_heads == [[layer, head] for layer in (2, 3) for head in range(4)]
    assert "alignment_heads are those of another model" in caplog.text
    (heard,) = pair.transcribe_long([speech(seconds=3)], language="nl", chunked=True, timestamps=False, word_times=True)
    ends = [word.end for segment in heard.segments for word in segment.words]
    assert len(ends) > 1
    assert max(ends) > 0
    assert ends == sorted(ends)


def test_word_times_without_alignment_heads_follow_the_upper_half_and_say_so(main, caplog):
    edit(main, alignment_heads=None)
    pair = Pair.from_pretrained(str(main), None)
    assert "alignment_heads" not in caplog.text  # nobody has asked for word times
    asked = {"language": "nl", "chunked": True, "timestamps": False, "word_times": True}
    (heard,) = pair.transcribe_long([speech()], **asked)
    assert "all heads of the upper half" in caplog.text
    edit(main, alignment_heads=[[layer, head] for layer in (2, 3) for head in range(4)])
    assert Pair.from_pretrained(str(main), None).transcribe_long([speech()], **asked) == [heard]


def test_assistants_and_their_standalone_export_name_heads_that_they_have(stock, tmp_path):
    main = load_main(stock, torch.float32)
    assert fits(main.generation_config.alignment_heads, main.config)
    build_student(main, (0, 3)).save_pretrained(tmp_path / "assistant")
    held = generation_config(tmp_path / "assistant")["alignment_heads"]
    assert held == [[1, head] for head in range(4)]
    whole = standalone_assistant(main, load_draft(tmp_path / "assistant", torch.float32))
    assert whole.generation_config.alignment_heads == held == default_alignment_heads(whole.config)
    whole.save_pretrained(tmp_path / "whole")
    whole = WhisperForConditionalGeneration.from_pretrained(tmp_path / "whole")
    features = torch.randn(1, 80, 400, generator=torch.Generator().manual_seed(0))
    timed = whole.generate(features, language="nl", return_token_timestamps=True, num_beams=1)
    assert timed["token_timestamps"].shape == timed["sequences"].shape


# --- added words and padding


def say_instead(folder: Path, word_id: int, token: int) -> None:
    """The model says the added word where it said `token`."""
    weights = load_file(folder / "model.safetensors")
    words = weights["model.decoder.embed_tokens.weight"]
    words[word_id] = 1.2 * words[token]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_an_added_word_is_said_in_every_output(main, tmp_path):
    pair = Pair.from_pretrained(str(main), None)
    (before,) = pair.transcribe([speech()], language="nl")
    old, *_ = pair.engine.special.text(before.tokens)[2:]
    add_words(main, "Coëvorden")
    say_instead(main, 859, old)
    build_student(load_main(main, torch.float32), (0, 1, 3)).save_pretrained(tmp_path / "assistant")
    pair = Pair.from_pretrained(str(main), str(tmp_path / "assistant"))
    (heard,) = pair.transcribe([speech()], language="nl", draft_tokens=2)
    assert heard.tokens == [859 if token == old else token for token in before.tokens]
    assert heard.text == text_of(pair.processor.tokenizer, before.tokens).replace(
        text_of(pair.processor.tokenizer, [old]), "Coëvorden"
    ).strip()  # fmt: skip
    asked = {"language": "nl", "chunked": True, "timestamps": False, "draft_tokens": 2}
    (long,) = pair.transcribe_long([speech()], **asked, word_times=True)
    assert long.text == heard.text
    assert "".join(word.text for segment in long.segments for word in segment.words).strip() == heard.text
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
    (heard,) = pair.transcribe([features[0]], language="nl")
    said = pair.main.generate(features, language="nl", task="transcribe", num_beams=1)[0].tolist()
    assert pair.engine.special.text(heard.tokens) == pair.engine.special.text(said)
    assert max(heard.tokens) < 859


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
