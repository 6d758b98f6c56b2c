"""Rows that are a part of their audio file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.corpora import tone, wav
from tests.data.tables import WAYS, clips_of, refusal
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.config.schema import Source
from whisper_pair.data.fingerprints import fingerprint


@pytest.fixture
def long(tmp_path) -> Path:
    """long.wav: 4 tones of 3 s each."""
    soundfile.write(tmp_path / "long.wav", np.concatenate([tone(3, 10 + i) for i in range(4)]), SAMPLE_RATE)
    return tmp_path


def listing(folder: Path, rows: list[dict], **more) -> Source:
    (folder / "list.jsonl").write_text("".join(json.dumps({"audio": "long.wav"} | row) + "\n" for row in rows))
    return Source(manifest=str(folder / "list.jsonl"), **more)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "columns",
    [
        lambda i: {"offset": 3.0 * i, "duration": 3.0},
        lambda i: {"start": str(3 * i), "end": str(3 * i + 3)},
        lambda i: {"Begin": 3 * i, "duration": 3, "end": 3 * i + 3},
        lambda i: {"start_time": 3 * i, "end_time": None if i == 3 else 3 * i + 3},
    ],
)
def test_rows_with_a_begin_and_a_length_are_clips_of_their_segments(long, way, columns, tmp_path):
    source = listing(long, [{"text": f"zin {i}"} | columns(i) for i in range(4)])
    for _ in range(2):  # and from the cache
        found = clips_of(source, way, cache=str(tmp_path / "cache"))
        assert [(clip.text, round(clip.seconds, 2), clip.start) for clip in found] == [
            (f"zin {i}", 3.0, 3.0 * i) for i in range(4)
        ]
        for i, clip in enumerate(found):
            assert np.allclose(clip.read(), tone(3, 10 + i), atol=1e-3)
        assert len({clip.name for clip in found}) == 4


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"offset": 9.0, "duration": 30.0}, "ends after its audio of 12.0 s"),
        ({"offset": 50.0}, "ends after its audio of 12.0 s"),
        ({"offset": "a", "duration": 3.0}, "its begin is not a number of seconds"),
        ({"offset": -1, "duration": 3.0}, "its begin is not a number of seconds"),
        ({"start": 5.0, "end": 4.0}, "before it begins"),
        ({"start": 5.0, "end": 8.0, "duration": 9.0}, "is not between"),
        ({"duration": 3.0}, "set segments: true to cut, or false"),
        ({"duration": 12_000}, "set segments: true to cut, or false"),
    ],
)
def test_a_segment_that_is_none_is_its_rows_problem(long, row, message):
    soundfile.write(long / "sound.wav", tone(2, 44), SAMPLE_RATE)
    source = listing(long, [row | {"text": "Ja"}, {"audio": "sound.wav", "text": "Nee", "duration": None}])
    assert [clip.text for clip in clips_of(source, "training")] == ["Nee"]
    refused = refusal(source, "test")
    assert message in refused
    assert "list.jsonl, line 1" in refused


def test_segments_can_be_requested_and_ignored(long):
    source = listing(long, [{"text": "Ja", "duration": 3.0}])
    assert [clip.seconds for clip in clips_of(replace(source, segments=True), "test")] == [3.0]
    assert [clip.seconds for clip in clips_of(replace(source, segments=False), "test")] == [12.0]
    assert fingerprint([source]) != fingerprint([replace(source, segments=False)])
    assert "both give a begin" in refusal(listing(long, [{"text": "Ja", "start": 1, "offset": 2}]), "test")


def test_a_length_that_is_the_files_changes_nothing(long):
    assert [clip.seconds for clip in clips_of(listing(long, [{"text": "Ja", "duration": 12.02}]), "test")] == [12.0]


def test_a_requested_channel_is_not_mixed_with_the_others(long):
    soundfile.write(long / "two.wav", np.stack([tone(2, 10), tone(2, 30)], axis=1), SAMPLE_RATE)
    source = listing(long, [{"text": "Ja", "audio": "two.wav", "channel": 1}, {"text": "Nee nee", "channel": 0}])
    assert [clip.text for clip in clips_of(source, "training")] == ["Nee nee"]
    assert "names channel 1 of 2" in refusal(source, "test")


def test_where_rows_have_audio_of_their_own_times_may_tell_where_it_was_cut_from(tmp_path, no_copies_at_home):
    import pyarrow as pa
    import pyarrow.parquet

    rows = [
        {"audio": wav(tone(2, 10 + at)), "text": "Ja", "begin_time": at, "end_time": at + 2.0} for at in (0.0, 60.0)
    ]
    rows.append({"audio": wav(tone(2, 20)), "text": "Nee", "begin_time": 0.5, "end_time": 1.5})
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    source = Source(parquet=str(tmp_path / "rows.parquet"))
    assert [clip.seconds for clip in clips_of(source, "training")] == [2.0, 2.0]
    assert "set segments: true to cut, or false" in refusal(source, "test")
    assert [clip.seconds for clip in clips_of(replace(source, segments=False), "test")] == [2.0, 2.0, 2.0]
    streamed = replace(source, segments=True, stream=True)
    assert "ends after its audio" in refusal(streamed, "test", cache=str(tmp_path / "cache"))
    (cut,) = [clip for clip in clips_of(streamed, "training", cache=str(tmp_path / "cache")) if clip.text == "Nee"]
    assert np.allclose(cut.read(), tone(2, 20)[8_000:24_000], atol=1e-3)
