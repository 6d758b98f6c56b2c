"""Special tokens in human texts: taken out and counted, refused, or read as times; never a control token of a label."""

from pathlib import Path

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpora import tone
from tests.data.tables import data
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.config.schema import Source
from whisper_pair.data.clips import Clip, Window
from whisper_pair.data.corpus import load_test_clips, load_training_clips
from whisper_pair.data.transcripts import transcript
from whisper_pair.errors import InputError
from whisper_pair.training.target_tokens import TargetTokens

NAMES = ("endoftext", "startoftranscript", "nl", "transcribe", "notimestamps", "0.00", "2.00")
MARKS = [f"<|{name}|>" for name in NAMES]


@pytest.fixture(scope="module")
def targets(demo_data) -> TargetTokens:
    folder = demo_data / "micro-whisper"
    return TargetTokens.of(load_main(folder, torch.float32), load_processor(folder).tokenizer, "nl", "transcribe")


def window(text: str, **more) -> Window:
    return Window((Clip("a", Path("a"), 3.0, text, None),), **more)


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.sampled_from([*MARKS, "<|", "|>", "<", "ja", " nee"]), max_size=8))
def test_no_text_becomes_a_control_token(targets, parts):
    text = "".join(parts)
    tokens, prefix = targets.human(window(text))
    assert all(token < targets.special.end for token in tokens[prefix:-1])
    spelt = targets.tokenizer.backend_tokenizer.decode(tokens[prefix:-1], skip_special_tokens=False)
    assert spelt.strip() == text.strip()
    assert all(token < targets.special.end for token in targets.prompt(window("x", previous=text)))
    assert targets.count([text]) == [len(targets._ids([text])[0])]


def test_an_added_word_is_one_token_whatever_form_it_has(demo_data):
    tokenizer = load_processor(demo_data / "micro-whisper").tokenizer
    tokenizer.add_tokens(["kwispel", "<|lacht|>"])
    targets = TargetTokens.of(load_main(demo_data / "micro-whisper", torch.float32), tokenizer, "nl", "transcribe")
    (ids,) = targets._ids(["kwispel <|lacht|>"])
    assert ids.count(len(tokenizer) - 2) == ids.count(len(tokenizer) - 1) == 1
    assert transcript("kwispel <|lacht|>").marks == ()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*MARKS, "<|no", "speech|>", "<|", "|>", "ja"]), max_size=8))
def test_what_is_left_of_a_text_holds_no_special_token(parts):
    left = transcript("".join(parts)).text
    assert not any(mark in left for mark in [*MARKS, "<|nospeech|>"])


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("<|0.00|> een<|1.20|><|1.20|> twee<|2.50|>", ((0.0, 1.2, "een"), (1.2, 2.5, "twee"))),
        ("<|nl|><|0.00|>een<|1.00|><|endoftext|>", ((0.0, 1.0, "een"),)),
        ("<|nl|>een", ()),
        ("<|0.00|> een", None),
        ("vooraf<|0.00|> een<|1.00|>", None),
        ("<|2.00|> een<|1.00|>", None),
    ],
)
def test_times_in_a_text_are_its_segments(text, times):
    assert transcript(text).times == times


@pytest.fixture
def marked(tmp_path) -> Source:
    texts = ["<|0.00|> een<|1.00|><|1.00|> twee<|2.00|>", "drie<|endoftext|>", "vier", "<|0.00|> vijf<|9.00|>"]
    for i in range(len(texts)):
        soundfile.write(tmp_path / f"{i}.wav", tone(2, 10 + i), SAMPLE_RATE)
    lines = "".join(f"{i}.wav,{text}\n" for i, text in enumerate(texts))
    (tmp_path / "metadata.csv").write_text(f"file_name,text\n{lines}")
    return Source(folder=str(tmp_path))


def test_they_are_taken_out_counted_and_reported(marked, caplog):
    corpus = load_training_clips([marked], data(), 30)
    assert [clip.text for clip in corpus.clips] == ["een twee", "drie", "vier", "vijf"]
    assert corpus.report("training").endswith("took special tokens out of 3 texts")
    assert [clip.text for clip in load_test_clips([marked], data(), 30, "test")] == ["een twee", "drie", "vier", "vijf"]
    assert "test: took special tokens out of 3 of 4 texts" in caplog.text


def test_they_are_refused_with_file_and_line_on_request(marked):
    for load in (load_training_clips, lambda *given: load_test_clips(*given, "test")):
        with pytest.raises(InputError, match=r"0\.wav \(metadata\.csv, line 2\): its text holds <\|0\.00\|>; take"):
            load([marked], data(special_tokens="refuse"), 30)


def test_times_become_the_targets_of_windows_with_timestamps_on_request(marked, targets):
    corpus = load_training_clips([marked], data(special_tokens="times"), 30)
    assert [clip.text for clip in corpus.clips] == ["een twee", "drie", "vier"]
    assert corpus.dropped == {"times out of order": 1}
    tokens, prefix = targets.human(Window(corpus.clips[:2], 0.5, timestamps=True))
    label = targets.tokenizer.decode(tokens[prefix:], decode_with_timestamps=True)
    assert label == "<|0.00|> een<|1.00|><|1.00|> twee<|2.00|><|2.50|> drie<|4.00|><|endoftext|>"
    plain, prefix = targets.human(Window(corpus.clips[:1]))
    assert targets.tokenizer.decode(plain[prefix:-1]) == " een twee"
