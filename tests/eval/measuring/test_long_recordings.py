"""Which recordings are made of test clips."""

import types
from pathlib import Path

import pytest

from eval.measuring.longform import recordings
from whisper_pair.config.schema import Data, Eval
from whisper_pair.data.clips import Clip


def clip(number: int, speaker: str | None, seconds: float = 3.0) -> Clip:
    return Clip(f"clip {number}", Path("nowhere"), seconds, f"text {number}", speaker)


def asking(minutes: float = 1.0):
    """A config, as far as choosing recordings reads it."""
    return types.SimpleNamespace(eval=Eval(long_form_minutes=minutes), data=Data((), (), ()))


def test_recordings_hold_one_speaker_in_order_and_pass_a_window():
    clips = [clip(i, "ab"[i % 2]) for i in range(40)]
    found = recordings(asking(), clips, [], 10.0)
    assert len(found.windows) == 3  # of about 19 s
    for window in found.windows:
        assert 12.5 <= window.seconds <= 20
        assert len({c.speaker for c in window.clips}) == 1
        assert list(window.clips) == sorted(window.clips, key=clips.index)
    half = recordings(asking(minutes=0.5), clips, [], 10.0)
    assert sum(w.seconds for w in half.windows) == pytest.approx(30, abs=10)


def test_a_long_test_clip_is_a_recording_as_it_is_unless_it_takes_all_minutes():
    long = [clip(1, None, 25.0), clip(2, None, 4000.0)]
    found = recordings(asking(), [], long, 10.0)
    assert [window.clips for window in found.windows] == [(long[0],)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"minutes": 0}, "eval.long_form_minutes is 0."),
        ({}, "no speaker's test clips, joined, last 12.5 s, which is 1.25 windows."),
    ],
)
def test_where_there_are_no_long_recordings_a_sentence_says_why(given, message):
    assert recordings(asking(**given), [clip(1, "a"), clip(2, "b")], [], 10.0).skipped == message
