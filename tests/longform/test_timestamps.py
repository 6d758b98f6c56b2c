"""A main is asked for timestamps where it writes them: by its record, or else by what its first windows tell."""

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests.decoding.models import FIRST_TIMESTAMP, FRAMES, MELS, tiny_whisper
from whisper_pair import Pair
from whisper_pair.audio.reading import read_audio
from whisper_pair.audio.sound import Sound
from whisper_pair.checkpoints import Capabilities
from whisper_pair.checkpoints.load import load_main, load_processor
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.errors import InputError
from whisper_pair.longform import knows_timestamps, transcribe
from whisper_pair.longform import timestamps as found_out
from whisper_pair.longform.features import Whole
from whisper_pair.longform.recording import Recording
from whisper_pair.longform.timestamps import agreement, spread, writes_timestamps

OPTIONS = Options(language="nl", timestamps=True, batch_size=3, draft_tokens=0)
TRAINED = Capabilities(timestamps=0.0, previous_text=0.0, tasks=("transcribe",), languages=("nl",))


def recording(frames: int, seed: int = 0) -> Recording:
    features = torch.randn(MELS, frames, generator=torch.Generator().manual_seed(seed)) * 2
    return Recording(
        0, Whole(features, frames), frames / 100, 2 * FRAMES, 2, range(FIRST_TIMESTAMP, FIRST_TIMESTAMP + 31), "nl"
    )


class Tokenizer:
    """Writes tokens as their numbers."""

    added_tokens_decoder: ClassVar = {}

    def decode(self, tokens, **_):
        return f" {tokens}"


def tiny(main) -> SimpleNamespace:
    processor = SimpleNamespace(tokenizer=Tokenizer())
    return SimpleNamespace(main=main, engine=Engine(main), processor=processor, writes_timestamps=None)


def test_agreement_is_the_share_of_tokens_in_common():
    assert agreement([[1, 2, 3, 4]], [[1, 2, 3, 4]]) == 1.0
    assert agreement([[1, 2, 3, 4]], [[1, 2, 9, 4]]) == pytest.approx(0.75)
    assert agreement([[1, 2]], [[3, 4]]) == 0.0


def test_one_window_that_repeats_itself_decides_nothing():
    loop = [7] * 400
    assert agreement([[1, 2, 3, 4], loop, [5, 6]], [[1, 2, 3, 4], [7, 8], [5, 6]]) == 1.0


def test_windows_are_spread_over_a_recording():
    for length, firsts in ((400, [0, 100, 200, 300]), (50, [0, 25]), (40, [0])):
        assert [window.first for window in spread(recording(length))] == firsts


@pytest.mark.parametrize("seed", range(4))
def test_the_decision_is_that_of_both_texts_and_their_likelihoods(seed):
    """A random main writes other text with timestamps; then the likelier way decides."""
    pair, some = tiny(tiny_whisper(seed, end=1.0)), recording(160, seed)
    features = [window.features() for window in spread(some)]
    ways = [
        pair.engine.decode(features, replace(OPTIONS, timestamps=stamped, log_probabilities=True))
        for stamped in (False, True)
    ]
    texts = [[pair.engine.special.text(row.tokens) for row in rows] for rows in ways]
    means = [
        np.average([row.mean_log_probability for row in rows], weights=[len(row.tokens) for row in rows])
        for rows in ways
    ]
    wanted = agreement(*texts) >= found_out.AGREE or means[1] > means[0]
    assert writes_timestamps(pair, some, OPTIONS) == wanted


def test_too_little_speech_decides_nothing(monkeypatch):
    monkeypatch.setattr(found_out, "LEAST", 10_000)
    pair = tiny(tiny_whisper(0))
    assert writes_timestamps(pair, recording(160), OPTIONS) is None


@pytest.mark.parametrize("known", [None, False])
def test_a_main_that_writes_none_is_decoded_in_chunks_without_them(known, monkeypatch, caplog):
    pair = tiny(tiny_whisper(2))
    pair.writes_timestamps = known
    module = sys.modules["whisper_pair.longform.transcribe"]
    monkeypatch.setattr(module, "writes_timestamps", lambda *_: False)
    audio = [recording(230, seed).features.features for seed in (1, 2)]
    wanted = dict(transcribe(pair, audio, replace(OPTIONS, timestamps=False), chunked=True))
    assert dict(transcribe(pair, audio, OPTIONS, as_trained=True)) == wanted
    assert ("is decoded without" in caplog.text) == (known is None)
    assert pair.writes_timestamps is False  # and is not looked into again


def test_a_main_that_writes_them_is_decoded_as_requested(monkeypatch):
    pair = tiny(tiny_whisper(2))
    module = sys.modules["whisper_pair.longform.transcribe"]
    monkeypatch.setattr(module, "writes_timestamps", lambda *_: True)
    audio = [recording(230).features.features]
    assert dict(transcribe(pair, audio, OPTIONS, as_trained=True)) == dict(transcribe(pair, audio, OPTIONS))


@pytest.fixture(scope="module")
def pair(demo_data) -> Pair:
    folder = demo_data / "micro-whisper"
    return Pair(load_main(folder, torch.float32), None, load_processor(folder), capabilities=TRAINED)


@pytest.fixture(scope="module")
def speech(demo_data) -> np.ndarray:
    return np.concatenate([read_audio(file) for file in sorted((demo_data / "test").glob("*.wav"))])


def test_a_pair_goes_by_the_record_of_its_main(pair, speech):
    (found,) = pair.transcribe_long([speech], max_new_tokens=12)
    (wanted,) = pair.transcribe_long([speech], language="nl", chunked=True, timestamps=False, max_new_tokens=12)
    assert found == wanted
    assert found.language == "nl"  # the one that it was trained for
    assert len(found.segments) > 1
    assert pair.transcribe([speech[:32_000]], max_new_tokens=4)[0].language == "nl"


def test_what_is_known_is_not_found_out_again_and_what_is_not_is(pair, monkeypatch):
    assert not knows_timestamps(pair, iter(()), OPTIONS)
    module = sys.modules["whisper_pair.longform.transcribe"]
    for answers, wanted, looked_at in (([True], True, 1), ([None, False], False, 2), ([None] * 3, True, 3)):
        unknown, left = tiny(tiny_whisper(2)), list(answers)
        monkeypatch.setattr(module, "writes_timestamps", lambda *_, left=left: left.pop(0))
        audio = (recording(80, seed).features.features for seed in range(3))
        assert knows_timestamps(unknown, audio, OPTIONS) is wanted
        assert len(answers) - len(left) == looked_at
        assert unknown.writes_timestamps is answers[-1]


def test_timestamps_of_a_main_that_was_trained_without_them_are_refused(pair, speech):
    for transcribe_it in (pair.transcribe, pair.transcribe_long):
        with pytest.raises(InputError, match="was trained without them"):
            transcribe_it([speech[:32_000]], timestamps=True)


def test_another_task_or_language_than_it_was_trained_for_is_warned_of(pair, caplog):
    pair.options("nl", "transcribe")
    assert not caplog.records
    pair.options("Dutch", "translate")
    pair.options("de", "transcribe")
    assert [record.getMessage() for record in caplog.records] == [
        "the main was trained to transcribe nl, not to translate nl, so its text may be wrong",
        "the main was trained to transcribe nl, not to transcribe de, so its text may be wrong",
    ]


def test_recordings_that_were_only_looked_into_or_are_left_unfinished_are_closed(pair, demo_data, monkeypatch):
    opened = []

    class Counted(Sound):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            opened.append(self)
            self.is_open = True

        def close(self):
            super().close()
            self.is_open = False

    module = sys.modules["whisper_pair.longform.transcribe"]
    monkeypatch.setattr(module, "Sound", Counted)
    monkeypatch.setattr(module, "writes_timestamps", lambda *_: None)  # too little speech: the next one is opened
    unknown = Pair(pair.main, None, pair.processor)
    files = sorted((demo_data / "test").glob("*.wav"))[:3]
    assert knows_timestamps(unknown, iter(files), replace(OPTIONS, language="nl"))
    assert len(opened) == 3
    assert not any(sound.is_open for sound in opened)
    some = transcribe(pair, files, replace(OPTIONS, timestamps=False, max_new_tokens=2), chunked=True)
    next(some)
    some.close()
    assert len(opened) == 6
    assert not any(sound.is_open for sound in opened)
