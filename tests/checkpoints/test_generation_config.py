"""Generation configs: completed from the tokenizer, refused where they contradict it."""

import pytest
import torch
from transformers import WhisperForConditionalGeneration

from distill.student import build_student
from tests.checkpoints.micro_checkpoint import edit, generation_config, speech
from whisper_pair import Pair
from whisper_pair.checkpoints.generation_config import (
    NEUTRAL,
    default_alignment_heads,
    fits,
)
from whisper_pair.checkpoints.load import load_draft, load_main, standalone_assistant
from whisper_pair.decoding.special_tokens import SpecialTokens
from whisper_pair.errors import InputError

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
        (transcribed,) = pair.transcribe([features[0]], language=language, max_new_tokens=6)
        stock_said = model.generate(features, language=language, task="transcribe", max_new_tokens=6, num_beams=1,
                                    return_dict_in_generate=True, force_unique_generate_call=True)  # fmt: skip
        assert [*transcribed.decoded.prompt, *transcribed.tokens] == stock_said.sequences[0].tolist()


def test_what_was_completed_stays_with_a_checkpoint_that_is_saved(main, tmp_path):
    (main / "generation_config.json").unlink()
    model = load_main(main, torch.float32)
    model.save_pretrained(tmp_path / "saved")
    assert WhisperForConditionalGeneration.from_pretrained(tmp_path / "saved").generation_config.lang_to_id


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_to_id": {"transcribe": 652, "translate": 653}}, r"task_to_id\['transcribe'\] 652"),
        ({"lang_to_id": {"<|nl|>": 552}}, r"lang_to_id\['<\|nl\|>'\] 552"),
        ({"no_timestamps_token_id": 656}, "no_timestamps_token_id 656"),
    ],
)
def test_ids_that_the_tokenizer_gives_to_others_are_refused(main, change, message):
    edit(main, **change)
    with pytest.raises(InputError, match=message) as caught:
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
    message = caplog.text
    assert model.generation_config.max_length == SpecialTokens.of(model).max_length == 128
    assert "max_length 20, transformers' default, would cut transcripts; 128 is used" in message
    assert "max_new_tokens=3 ignored" in message
    ours, theirs = (Pair.from_pretrained(str(f), None).transcribe([speech()], language="nl") for f in (main, stock))
    assert ours[0].tokens == theirs[0].tokens


def test_a_length_that_someone_chose_is_kept_and_reported(main, caplog):
    edit(main, max_length=7)
    (transcribed,) = Pair.from_pretrained(str(main), None).transcribe([speech()], language="nl")
    assert len(transcribed.tokens) == 7
    assert "max_length 7 ends transcripts before the model's 128 tokens" in caplog.text


def test_what_changes_likelihoods_in_transformers_is_ignored_with_a_warning(stock, main, caplog):
    edit(main, repetition_penalty=3.0, no_repeat_ngram_size=1)
    model = load_main(main, torch.float32)
    assert "repetition_penalty=3.0, no_repeat_ngram_size=1 ignored" in caplog.text
    assert all(getattr(model.generation_config, key, None) in neutral for key, neutral in NEUTRAL.items())
    pair = Pair.from_pretrained(str(main), None)
    features = pair.log_mel(pair.log_mel.pad([speech()]))
    theirs = model.generate(features, language="nl", task="transcribe", num_beams=1)[0].tolist()
    assert [t for t in pair.transcribe([features[0]], language="nl")[0].tokens if t < 550] == [
        t for t in theirs if t < 550
    ]


def test_a_stock_checkpoint_is_loaded_without_a_word(stock, caplog):
    before = generation_config(stock)
    held = load_main(stock, torch.float32).generation_config.to_dict()
    assert {key: held[key] for key in before if key != "transformers_version"} == {
        key: value for key, value in before.items() if key != "transformers_version"
    }
    assert not caplog.records


# --- alignment heads


@pytest.mark.parametrize(
    "heads", [[[5, 1], [11, 2]], [[1, 9], [2, 11]], [[3, 0], [4, 0]], [], [[1]], "all", [[0.5, 1]]]
)
def test_alignment_heads_of_another_model_give_way_to_a_default(main, heads, caplog):
    edit(main, alignment_heads=heads)
    pair = Pair.from_pretrained(str(main), None)
    assert pair.main.generation_config.alignment_heads == [[layer, head] for layer in (2, 3) for head in range(4)]
    assert "alignment_heads are those of another model" in caplog.text
    (transcribed,) = pair.transcribe_long(
        [speech(seconds=3)], language="nl", chunked=True, timestamps=False, word_times=True
    )
    ends = [word.end for segment in transcribed.segments for word in segment.words]
    assert len(ends) > 1
    assert max(ends) > 0
    assert ends == sorted(ends)


def test_word_times_without_alignment_heads_follow_the_upper_half_and_say_so(main, caplog):
    edit(main, alignment_heads=None)
    pair = Pair.from_pretrained(str(main), None)
    assert "alignment_heads" not in caplog.text  # nobody has asked for word times
    requested = {"language": "nl", "chunked": True, "timestamps": False, "word_times": True}
    (transcribed,) = pair.transcribe_long([speech()], **requested)
    assert "all heads of the upper half" in caplog.text
    edit(main, alignment_heads=[[layer, head] for layer in (2, 3) for head in range(4)])
    assert Pair.from_pretrained(str(main), None).transcribe_long([speech()], **requested) == [transcribed]


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
