"""Prompts are context, timestamps stand where clips begin and end, and both fit the decoder."""

from pathlib import Path

import numpy as np
import pytest
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from tests.data.tables import data
from whisper_pair.audio.log_mel import LogMel
from whisper_pair.config.schema import Source
from whisper_pair.data.clips import Clip, Window
from whisper_pair.data.packing import pack, repeated_by_weight
from whisper_pair.errors import InputError
from whisper_pair.training.batches import Batches, Example, LoadedExample
from whisper_pair.training.losses.chunks import IGNORE
from whisper_pair.training.target_tokens import TargetTokens


@pytest.fixture(scope="module")
def processor(demo_data):
    return WhisperProcessor.from_pretrained(demo_data / "micro-whisper")


@pytest.fixture(scope="module")
def targets(demo_data, processor) -> TargetTokens:
    model = WhisperForConditionalGeneration.from_pretrained(demo_data / "micro-whisper")
    return TargetTokens.of(model, processor.tokenizer, "nl", "transcribe")


def clips(count: int, seconds: float = 1.0, speaker: str | None = "anna") -> list[Clip]:
    return [Clip(f"{speaker}{i}", Path("none"), seconds, f"zin {i}", speaker) for i in range(count)]


def decoded(targets: TargetTokens, tokens: list[int]) -> str:
    return targets.tokenizer.decode(tokens, decode_with_timestamps=True)


def test_a_plain_window_has_whispers_prefix_text_and_end(targets):
    tokens, prefix = targets.human(Window(tuple(clips(2)), 0.3))
    assert decoded(targets, tokens) == (
        "<|startoftranscript|><|nl|><|transcribe|><|notimestamps|> zin 0 zin 1<|endoftext|>"
    )
    assert prefix == 4


def test_timestamps_stand_where_the_clips_begin_and_end(targets):
    tokens, prefix = targets.human(Window(tuple(clips(2)), 0.3, timestamps=True))
    assert decoded(targets, tokens) == (
        "<|startoftranscript|><|nl|><|transcribe|><|0.00|> zin 0<|1.00|><|1.30|> zin 1<|2.30|><|endoftext|>"
    )
    assert prefix == 3
    late, _ = targets.human(Window(tuple(clips(2, 3.9)), 0.3, timestamps=True))
    assert decoded(targets, late).endswith("<|4.00|><|endoftext|>")  # never past the last of this window of 4 s


def test_timestamps_are_pairs_around_each_segment_and_never_fall(targets):
    overlapping = ((0.0, 0.55, "een"), (0.4, 0.9, "twee"), (1.5, 1.2, "drie"))
    clips = (
        Clip("a", Path("none"), 1.0, "een twee drie", "anna", times=overlapping),
        Clip("b", Path("none"), 0.337, "vier", "anna"),
    )
    tokens, prefix = targets.human(Window(clips, 0.3, timestamps=True))
    stamps = [(i, targets.special.timestamps.index(t)) for i, t in enumerate(tokens) if t in targets.special.timestamps]
    steps = [step for _, step in stamps]
    assert steps == sorted(steps)
    assert steps[:4] == [0, 28, 28, 45]  # of 20 ms; the second segment begins where the first one ends
    assert steps[-2:] == [65, 82]  # the second clip: 1.3 s to 1.637 s
    places = [place for place, _ in stamps]
    assert places[0] == prefix
    assert places[-1] == len(tokens) - 2  # before the end of text
    assert all(second == first + 1 for first, second in zip(places[1::2], places[2::2], strict=False))  # two in a row


def test_a_prompt_opens_with_startofprev_once_and_is_never_a_label(targets, processor):
    tokens, prefix = targets.human(Window(tuple(clips(1)), previous="wat eerder gezegd is"))
    text = decoded(targets, tokens)
    assert text.startswith("<|startofprev|> wat eerder gezegd is<|startoftranscript|><|nl|>")
    assert text.count("<|startofprev|>") == 1
    example = Example(Window(tuple(clips(1))), tuple(tokens), prefix)
    batches = Batches([example], LogMel(processor.feature_extractor))
    batch = batches.collate([LoadedExample(example, 0, 0, None, np.zeros(10, np.int16))])
    assert batch.inputs[0].tolist() == list(tokens[:-1])  # what main and assistant both see
    labels = batch.labels[0]
    assert labels[: prefix - 1].eq(IGNORE).all()
    assert labels[prefix - 1 :].tolist() == list(tokens[prefix:])


@pytest.mark.parametrize("words", [1, 60, 100, 118, 120, 122, 124])
def test_a_prompt_gives_way_to_the_text(targets, words):
    clip = Clip("a", Path("none"), 1.0, "0" * words, "anna")
    window = Window((clip,), previous="1" * 300)
    tokens, prefix = targets.human(window)
    bare, short = targets.human(Window((clip,)))
    assert tokens[prefix:] == bare[short:]
    assert len(tokens) - 1 <= max(targets.special.positions, len(bare) - 1)
    if words == 1:
        assert prefix == short + 1 + targets.special.max_prompt


def test_prompts_come_from_the_same_speaker_and_from_before():
    corpus = [clip for pair in zip(clips(30), clips(30, speaker="bram"), strict=True) for clip in pair]
    windows = pack(corpus, data(previous_text=1.0, unpacked_share=0.5), 10, seed=3)
    assert any(len(window.clips) > 1 for window in windows)
    for window in windows:
        first = window.clips[0]
        number = int(first.name[4:])
        before = [f"zin {i}" for i in range(max(0, number - 11), number)]
        assert window.previous == (" ".join(before) or None)
    nobody = pack(clips(30, speaker=None), data(previous_text=1.0), 10, seed=3)
    assert all(window.previous is None for window in nobody)


def test_shares_of_timestamps_and_prompts_are_seeded():
    settings = data(previous_text=0.5, timestamps=0.3, pack=False)
    windows = pack(clips(400), settings, 10, seed=3)
    assert 90 < sum(window.timestamps for window in windows) < 150
    assert 160 < sum(window.previous is not None for window in windows) < 240
    assert windows == pack(clips(400), settings, 10, seed=3)
    assert len({window.key for window in windows}) == 400
    assert windows[5].key != Window(windows[5].clips, timestamps=not windows[5].timestamps).key


def test_timestamps_take_their_room_from_the_text():
    tokens = {clip.name: 10 for clip in clips(30)}
    assert max(len(w.clips) for w in pack(clips(30), data(timestamps=0.0), 30, 0, tokens, 60)) == 6
    assert max(len(w.clips) for w in pack(clips(30), data(timestamps=0.1), 30, 0, tokens, 60)) == 5


def test_a_weight_above_one_shows_windows_more_often():
    heavy, light = Source(folder="a", weight=2.5), Source(folder="b", weight=0.5)
    corpus = [Clip(str(i), Path("none"), 1.0, "ja", None, source=heavy if i < 400 else light) for i in range(500)]
    windows = pack(corpus, data(pack=False), 30, 0)
    numbers = repeated_by_weight(windows, seed=1)
    assert sorted(set(numbers)) == list(range(500))
    assert 920 < sum(number < 400 for number in numbers) < 1080
    assert sum(number >= 400 for number in numbers) == 100  # the rest of a light source was never read
    assert numbers == repeated_by_weight(windows, seed=1)


def test_clips_of_two_sources_are_never_joined():
    one, two = Source(folder="a"), Source(folder="b")
    corpus = [Clip(str(i), Path("none"), 1.0, "ja", None, source=one if i % 2 else two) for i in range(10)]
    for window in pack(corpus, data(unpacked_share=0.0), 30, 0):
        assert len({clip.source for clip in window.clips}) == 1
        assert len(window.clips) == 5


def test_a_checkpoint_without_the_tokens_is_refused(targets):
    from dataclasses import replace

    bare = replace(targets, special=replace(targets.special, timestamps=range(0), previous=None))
    bare.check(0.0, 0.0)
    with pytest.raises(InputError, match=r"data\.timestamps: expected 0, found 0\.5"):
        bare.check(0.5, 0.0)
    with pytest.raises(InputError, match=r"data\.previous_text: expected 0, found 0\.5"):
        bare.check(0.0, 0.5)
