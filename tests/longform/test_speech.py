"""Voice activity: speech is found, long pauses are left out, and times stay those of the recording."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.decoding.models import FIRST_TIMESTAMP, FRAMES, MELS
from whisper_pair.audio.reading import read_audio
from whisper_pair.decoding import Decoded
from whisper_pair.errors import InputError
from whisper_pair.longform import speech as voice
from whisper_pair.longform.features import Whole
from whisper_pair.longform.recording import Recording
from whisper_pair.longform.speech import refuse_missing_detector, speech

RATE, HOP = 16_000, 160


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def test_speech_is_found_between_long_silences(demo_data):
    pytest.importorskip("silero_vad")
    one, other = (read_audio(file) for file in sorted((demo_data / "test").glob("*.wav"))[:2])
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    parts = [silence(5), one, silence(1), other, silence(6), one, silence(5)]
    found = speech(np.array_split(np.concatenate(parts), 7), HOP)
    assert torch.get_num_threads() == threads + 1  # which the package sets to one
    torch.set_num_threads(threads)
    borders = np.cumsum([0, *map(len, parts)]) / HOP
    wanted = [(borders[1], borders[4]), (borders[5], borders[6])]  # the second of silence stays
    assert len(found) == 2
    for (begin, end), (first, last) in zip(found, wanted, strict=True):
        assert first - 60 <= begin <= first + 30
        assert last - 60 <= end <= last + 60


def test_silence_holds_no_speech():
    pytest.importorskip("silero_vad")
    assert speech([silence(4)], HOP) == []


def test_samples_are_cut_alike_whatever_blocks_they_come_in():
    samples = np.arange(2_000, dtype=np.float32)
    for sizes in ([2_000], [1, 511, 513, 975], [700, 700, 600]):
        blocks = np.split(samples, np.cumsum(sizes)[:-1])
        chunks = list(voice._chunks(blocks))
        assert [len(chunk) for chunk in chunks] == [voice.CHUNK] * 4
        assert (np.concatenate(chunks)[:2_000] == samples).all()


def test_without_the_detector_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'whisper-pair\[vad\]'"):
        refuse_missing_detector()


def recording(stretches: list[tuple[int, int]] | None, chunks: bool) -> Recording:
    features = torch.randn(MELS, 400, generator=torch.Generator().manual_seed(0))
    stamps = range(FIRST_TIMESTAMP, FIRST_TIMESTAMP + 31)
    return Recording(0, Whole(features, 400), 4.0, 2 * FRAMES, 2, stamps, "nl", chunks, stretches)


def test_chunks_are_within_speech_and_cover_all_of_it():
    speech_at = [(30, 60), (150, 260)]
    windows = list(recording(speech_at, chunks=True).windows(True))
    covered = [frame for window in windows for frame in range(window.first, window.first + window.frames)]
    assert covered == [*range(30, 60), *range(150, 260)]
    assert all(window.frames <= 2 * FRAMES for window in windows)


def test_the_sequential_algorithm_goes_on_at_the_next_speech():
    some = recording([(30, 60), (150, 260)], chunks=False)
    seen = []
    while not some.done:
        (window,) = some.windows(True)
        seen.append((window.first, window.frames))
        some.seek = window.first + window.frames
    assert seen == [(30, 30), (150, 40), (190, 40), (230, 30)]


@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize("margin", [None, 0.1])
def test_what_follows_a_stretch_of_speech_is_silence_in_a_recording_of_one_window_too(chunks, margin):
    some = replace(recording([(2, 10), (20, 30)], chunks), margin=margin)
    some.features = Whole(some.features.features[:, : 2 * FRAMES], 36)
    (first, *_), silence = some.windows(True), some.features.silence
    window = first.features()
    assert torch.equal(window[:, :8], some.features.features[:, 2:10])
    assert (window[:, 8:] == silence).all()
    assert window.shape[1] == 2 * FRAMES
    whole = replace(some, speech=None, margin=margin)
    (window,) = whole.windows(True)
    assert torch.equal(window.features(), some.features.features)  # with the silence that it was padded with


def test_a_sequential_recording_ends_in_zeros_as_in_transformers_or_in_silence_where_windows_are_short():
    some = replace(recording(None, chunks=False), seek=390)
    for margin, fill in ((None, 0.0), (5.0, some.features.silence)):
        (window,) = replace(some, margin=margin).windows(True)
        assert (window.features()[:, 10:] == fill).all()


@pytest.mark.parametrize("margin", [None, 0.1])
def test_a_time_after_the_sound_of_a_stretch_does_not_skip_the_next_one(margin):
    some = replace(recording([(0, 20), (30, 60)], chunks=False), margin=margin)
    (window,) = some.windows(True)
    zero, end = FIRST_TIMESTAMP, FIRST_TIMESTAMP - 1
    tokens = [zero, 5, zero + 5, zero + 5, 6, zero + 23, zero + 23, 7]  # step 23 is frame 46
    spans = some.take(window, Decoded([*tokens, end], [], "nl", True, 1, 0, 0, (), (), 0.0), end)
    assert [(span.start, span.end) for span in spans] == [(0, 5), (5, 10)]
    (after,) = some.windows(True)
    assert after.first == 30


def test_a_recording_without_speech_is_done_at_once():
    for chunks in (True, False):
        some = recording([], chunks)
        assert some.done
        assert list(some.windows(True)) == []
        assert some.transcription().text == ""
