"""Short windows as users meet them: used where the main's record says that it was trained on them, otherwise never."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from whisper_pair import Pair
from whisper_pair.audio import read_audio
from whisper_pair.checkpoints import Capabilities, ShortWindows, load_main, load_processor
from whisper_pair.decoding import Options
from whisper_pair.errors import InputError
from whisper_pair.live.contest import Contest, windows
from whisper_pair.live.server import WINDOWS, Server

MARGIN = 0.3
TRAINED = Capabilities(1.0, 0.0, ("transcribe",), ("nl",), ShortWindows(0.8, 0.3, 2.0, margin=MARGIN))
BUCKET = 10


@pytest.fixture(scope="module")
def pair(demo_data) -> Pair:
    main = load_main(demo_data / "micro-whisper", torch.float32)  # of windows as short as its clips
    return Pair(main, main, load_processor(demo_data / "micro-whisper"), capabilities=TRAINED)


@pytest.fixture(scope="module")
def clips(demo_data) -> list[np.ndarray]:
    return [read_audio(file) for file in sorted((demo_data / "test").glob("*.wav"))[:3]]


@pytest.fixture(autouse=True)
def buckets(monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.short_windows.FRAME_BUCKET", BUCKET)


@pytest.fixture
def lengths(pair, monkeypatch) -> list[int]:
    """Encoder frames of each window that the engine decodes, in the order in which windows are drawn."""
    found = []

    def decode(features, *given, **more):
        def noted():
            for window in features:
                found.append(window.shape[1] // 2)
                yield window

        return type(pair.engine).decode(pair.engine, noted(), *given, **more)

    monkeypatch.setattr(pair.engine, "decode", decode)
    return found


def full(pair: Pair) -> int:
    return pair.engine.encoders.frames


def expected(pair: Pair, samples: np.ndarray) -> int:
    frames = 50 * (len(samples) / 16_000 + MARGIN)
    return min(full(pair), int(-(-frames // BUCKET)) * BUCKET)


def test_clips_are_decoded_in_windows_as_long_as_they_are_and_the_mains_margin(pair, clips, lengths):
    short = pair.transcribe(clips, language="nl", max_new_tokens=8, draft_tokens=2)
    assert lengths == [expected(pair, clip) for clip in clips]
    assert min(lengths) < full(pair)
    for clip, found in zip(clips, short, strict=True):  # the beginning of the full window's spectrogram
        window = pair.log_mel.features([clip])[0][:, : 2 * expected(pair, clip)]
        (alone,) = pair.transcribe([window], language="nl", max_new_tokens=8, draft_tokens=2)
        assert found.tokens == alone.tokens


def test_full_windows_where_they_are_asked_for_or_nothing_else_was_trained(pair, clips, lengths, monkeypatch):
    pair.transcribe(clips, language="nl", max_new_tokens=2, short_windows="off")
    for known in (None, replace(TRAINED, short_windows=None)):
        monkeypatch.setattr(pair, "capabilities", known)
        pair.transcribe(clips, language="nl", max_new_tokens=2)
        with pytest.raises(InputError, match="short_windows: the main was trained on full windows alone"):
            pair.transcribe(clips, language="nl", short_windows=True)
        with pytest.raises(InputError, match="features are of 40 frames, this main takes"):
            pair.transcribe([torch.zeros(pair.log_mel.mel_bins, 40)], language="nl")
    assert {*lengths} == {full(pair)}
    for value in ("on", 1, np.array([1, 2])):
        with pytest.raises(
            InputError, match=rf"short_windows is {re.escape(repr(value))}, expected \"auto\" or \"off\""
        ):
            pair.transcribe(clips, language="nl", short_windows=value)


def test_a_clip_of_less_than_a_frame_has_a_window(pair, monkeypatch):
    monkeypatch.setattr(pair, "capabilities", replace(TRAINED, short_windows=ShortWindows(0.5, 0.0, 0.0, 0.0)))
    (found,) = pair.transcribe([np.zeros(100, np.float32)], language="nl", max_new_tokens=2)
    assert found.tokens


@pytest.mark.parametrize("chunked", [False, True])
def test_the_last_window_of_a_recording_is_a_short_one(pair, clips, lengths, chunked):
    recording = np.concatenate([*clips, *clips])
    options = {"language": "nl", "max_new_tokens": 4, "chunked": chunked, "timestamps": not chunked}
    found = pair.transcribe_long([recording, clips[0]], **options)
    assert expected(pair, clips[0]) in lengths
    assert full(pair) in lengths
    assert len({*lengths}) > 1
    lengths.clear()
    whole = pair.transcribe_long([recording, clips[0]], short_windows="off", **options)
    assert {*lengths} == {full(pair)}
    assert [round(one.seconds, 1) for one in found] == [round(one.seconds, 1) for one in whole]


def test_the_page_decodes_windows_of_the_same_lengths(pair, clips):
    (window,) = windows(pair, clips[0], pair.margin("auto"))
    assert window.shape[1] == 2 * expected(pair, clips[0])
    (window,) = windows(pair, clips[0])
    assert window.shape[1] == 2 * full(pair)


def test_the_page_lets_visitors_choose_where_the_main_can_do_both(pair, clips, monkeypatch):
    server, asked = Server(pair, "a pair"), []
    monkeypatch.setattr("whisper_pair.live.server.samples_of", lambda sound, name: clips[0])
    monkeypatch.setattr(Contest, "_warm_up", lambda contest: None)
    for kind in WINDOWS:
        *_, last = server.transcribe("a.wav", "nl", "transcribe", "2", kind, SimpleNamespace(session_hash="one"))
        asked.append([window.shape[1] // 2 for window in server.contest.windows])
        assert f"windows {kind}" in last
    assert asked == [[expected(pair, clips[0])], [full(pair)]]
    assert choice_of_windows(server)["visible"]
    monkeypatch.setattr(pair, "capabilities", None)
    assert not choice_of_windows(server)["visible"]
    assert "windows" not in server._setting("2", "30 s")


def test_both_sides_of_the_page_are_warm_for_windows_of_each_length(pair, clips, monkeypatch):
    contest, warm, decode = Contest(pair, np.concatenate(clips), Options("nl", draft_tokens=2)), [], Contest._decode

    def noted(self, states, options, on_round):
        warm.append((options.draft_tokens, states.main.shape[1]))
        return decode(self, states, options, on_round)

    monkeypatch.setattr(Contest, "_decode", noted)
    contest._warm_up()
    lengths = sorted({window.shape[1] // 2 for window in contest.windows}, reverse=True)
    assert len(lengths) > 1
    assert warm == [(drafts, length) for length in lengths for drafts in (0, 2)]


def choice_of_windows(server: Server) -> dict:
    parts = server.page().get_config_file()["components"]
    return next(part["props"] for part in parts if part["props"].get("label") == "Windows")
