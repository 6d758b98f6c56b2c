"""Clips in, windows out: what is kept, what is counted, what is refused."""

import csv
import json
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.tables import data
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.config.schema import Source
from whisper_pair.data.clips import Clip
from whisper_pair.data.corpus import drop_long_texts, load_test_clips, load_training_clips
from whisper_pair.data.fingerprints import fingerprint
from whisper_pair.data.packing import pack
from whisper_pair.errors import InputError


def folder(path: Path, rows: list[dict], files: dict[str, bytes | float], metadata: str = "metadata.csv") -> Source:
    """A corpus: files are bytes, or the seconds of a tone."""
    path.mkdir()
    for name, content in files.items():
        if isinstance(content, bytes):
            (path / name).write_bytes(content)
        else:
            pitch = 10 + sum(name.encode()) % 97  # each file its own tone, or they were duplicates
            wave = 0.1 * np.sin(np.arange(round(content * SAMPLE_RATE)) / pitch)
            soundfile.write(path / name, wave, SAMPLE_RATE)
    if metadata.endswith("csv"):
        with open(path / metadata, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif metadata.endswith("jsonl"):
        (path / metadata).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        import pyarrow as pa
        import pyarrow.parquet

        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path / metadata)
    return Source(folder=str(path))


@pytest.mark.parametrize("metadata", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_a_folder_is_read_whatever_form_its_metadata_has(tmp_path, metadata):
    rows = [{"file_name": "a.wav", "text": "één"}, {"file_name": "b.wav", "text": "twee"}]
    source = folder(tmp_path / "corpus", rows, {"a.wav": 1.0, "b.wav": 2.0}, metadata)
    clips = load_test_clips([source], data(), 30, "test")
    assert [(clip.text, clip.seconds) for clip in clips] == [("één", 1.0), ("twee", 2.0)]
    assert len(clips[1].read()) == 2 * SAMPLE_RATE


def test_every_clip_dropped_from_training_is_counted_by_its_reason(tmp_path):
    files = {"good.wav": 1.0, "short.wav": 0.05, "long.wav": 31.0, "mute.wav": 1.0, "text.wav": b"not audio"}
    rows = [{"file_name": name, "text": " " if name == "mute.wav" else "ja"} for name in [*files, "gone.wav"]]
    corpus = load_training_clips([folder(tmp_path / "corpus", rows, files)], data(), 30)
    assert [Path(clip.name).name for clip in corpus.clips] == ["good.wav"]
    assert corpus.dropped == Counter(
        {"too short": 1, "over 30 s": 1, "empty text": 1, "unreadable": 1, "missing file": 1}
    )
    assert corpus.report("training") == (
        "training: 1 clips, 0.00 h; dropped 1 empty text, 1 missing file, 1 over 30 s, 1 too short, 1 unreadable"
    )


def test_long_audio_can_be_split_into_pieces_without_text(tmp_path):
    rows = [{"file_name": "long.wav", "text": "heel veel"}]
    source = folder(tmp_path / "corpus", rows, {"long.wav": 70.0})
    pieces = load_training_clips([source], data(long_audio="split"), 30).clips
    assert [piece.text for piece in pieces] == [None] * 3
    whole = np.concatenate([piece.read() for piece in pieces])
    assert abs(len(whole) - 70 * SAMPLE_RATE) <= 3
    assert all(piece.seconds <= 30 for piece in pieces)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("x.wav", b"not audio", "x.wav"), ("x.wav", 31.0, "31.0 s"), ("y.wav", 1.0, "x.wav")],
)
def test_a_bad_clip_in_a_test_set_is_refused_by_name(tmp_path, name, content, reason):
    source = folder(tmp_path / "corpus", [{"file_name": "x.wav", "text": "ja"}], {name: content})
    with pytest.raises(InputError, match=reason):
        load_test_clips([source], data(), 30, "test")


def test_long_test_clips_are_dropped_only_where_the_config_says_so(tmp_path, caplog):
    rows = [{"file_name": name, "text": "ja"} for name in ("a.wav", "b.wav")]
    source = folder(tmp_path / "corpus", rows, {"a.wav": 1.0, "b.wav": 31.0})
    assert len(load_test_clips([source], data(long_test_audio="drop"), 30, "test")) == 1
    assert "dropped 1 over 30 s" in caplog.text


def test_a_missing_column_is_named_with_those_that_exist(tmp_path):
    source = folder(tmp_path / "corpus", [{"file_name": "a.wav", "transcript": "ja"}], {"a.wav": 1.0})
    with pytest.raises(InputError, match="no column 'text'; it has file_name, transcript"):
        load_test_clips([source], data(), 30, "test")


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/passwd", "deep/../../secret.wav"])
def test_no_path_in_metadata_may_leave_its_folder(tmp_path, name):
    (tmp_path / "secret.wav").write_bytes(b"x")
    source = folder(tmp_path / "corpus", [{"file_name": name, "text": "ja"}], {})
    with pytest.raises(InputError, match="leaves the folder"):
        load_training_clips([source], data(), 30)


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    soundfile.write(tmp_path / "secret.wav", np.zeros(100), SAMPLE_RATE)
    source = folder(tmp_path / "corpus", [{"file_name": "a.wav", "text": "ja"}], {})
    (tmp_path / "corpus" / "a.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(InputError, match="leaves the folder"):
        load_training_clips([source], data(), 30)


def test_metadata_that_is_no_metadata_is_refused(tmp_path):
    (tmp_path / "metadata.jsonl").write_text("{broken\n")
    with pytest.raises(InputError, match="cannot be read as jsonl"):
        load_training_clips([Source(folder=str(tmp_path))], data(), 30)
    with pytest.raises(InputError, match="there is no such folder"):
        load_training_clips([Source(folder=str(tmp_path / "nowhere"))], data(), 30)


def test_a_fingerprint_changes_with_text_and_with_audio(tmp_path):
    source = folder(tmp_path / "corpus", [{"file_name": "a.wav", "text": "ja"}], {"a.wav": 1.0})
    before = fingerprint([source])
    assert fingerprint([source]) == before
    (tmp_path / "corpus" / "metadata.csv").write_text("file_name,text\na.wav,nee\n")
    changed = fingerprint([source])
    soundfile.write(tmp_path / "corpus" / "a.wav", np.zeros(200), SAMPLE_RATE)
    assert before != changed != fingerprint([source])


def test_texts_that_do_not_fit_the_decoder_are_dropped(tmp_path):
    rows = [{"file_name": name, "text": text} for name, text in (("a.wav", "een"), ("b.wav", "een twee drie"))]
    corpus = load_training_clips([folder(tmp_path / "corpus", rows, {"a.wav": 1.0, "b.wav": 1.0})], data(), 30)
    counts = drop_long_texts(corpus, lambda texts: [len(text.split()) for text in texts], limit=2)
    assert [clip.text for clip in corpus.clips] == ["een"]
    assert list(counts.values()) == [1]
    assert corpus.dropped["text over 2 tokens"] == 1


clip_kinds = st.tuples(st.floats(0.2, 30), st.sampled_from(["anna", "bram", None]), st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(clip_kinds, min_size=1, max_size=40), st.floats(0, 1), st.integers(0, 99), st.integers(5, 60))
def test_packing_keeps_every_clip_once_and_every_bound(kinds, gap, seed, room):
    clips = [
        Clip(f"{i}", Path("none"), seconds, "woord" if has_text else None, speaker)
        for i, (seconds, speaker, has_text) in enumerate(kinds)
    ]
    tokens = {clip.name: 1 + int(clip.name) % 5 for clip in clips}
    windows = pack(clips, data(pack_gap=gap, unpacked_share=0.0), 30, seed, tokens, room)
    assert Counter(clip.name for window in windows for clip in window.clips) == Counter(clip.name for clip in clips)
    for window in windows:
        assert window.seconds <= 30
        assert len({clip.speaker for clip in window.clips}) == 1
        assert len({clip.text is None for clip in window.clips}) == 1
        assert sum(tokens[clip.name] for clip in window.clips) <= room
        order = [int(clip.name) for clip in window.clips]
        assert order == sorted(order)


def test_prompts_take_time_in_proportion_to_the_clips_even_of_one_speaker():
    """A thousand hours are half a million clips; audiobooks have few speakers."""
    clips = [Clip(f"{i}", Path("none"), 1 + i % 7, f"zin {i}", "anna") for i in range(60_000)]
    begun = time.process_time()
    pack(clips, data(), 30, seed=0)
    plain = time.process_time()
    windows = pack(clips, data(timestamps=0.5, previous_text=0.5), 30, seed=0)
    assert time.process_time() - plain < 5 * (plain - begun)
    prompted = [window for window in windows if window.previous is not None]
    assert len(prompted) > len(windows) / 3
    for window in prompted[:1000]:
        first = int(window.clips[0].name)
        assert window.previous.endswith(f"zin {first - 1}")
        assert sum(clips[int(number)].seconds for number in re.findall(r"\d+", window.previous)) <= 30 + 7


def test_a_share_of_the_clips_also_has_a_window_of_its_own():
    clips = [Clip(f"{i}", Path("none"), 1.0, "ja", "anna") for i in range(400)]
    windows = pack(clips, data(unpacked_share=0.25), 30, seed=1)
    alone = [window for window in windows if len(window.clips) == 1]
    assert 60 < len(alone) < 140
    assert pack(clips, data(unpacked_share=0.25), 30, seed=1) == windows
    assert len(pack(clips, data(pack=False), 30, seed=1)) == 400


def test_a_window_is_its_clips_with_silence_between(tmp_path):
    rows = [{"file_name": name, "text": name[0]} for name in ("a.wav", "b.wav")]
    source = folder(tmp_path / "corpus", rows, {"a.wav": 1.0, "b.wav": 2.0})
    corpus = load_training_clips([source], data(), 30)
    (window,) = pack(corpus.clips, data(unpacked_share=0.0, pack_gap=0.5), 30, seed=0)
    pcm = window.pcm()
    assert pcm.dtype == np.int16
    assert len(pcm) == 3.5 * SAMPLE_RATE == window.seconds * SAMPLE_RATE
    assert window.text == "a b"
    assert not pcm[SAMPLE_RATE : round(1.5 * SAMPLE_RATE)].any()
    assert pcm[: SAMPLE_RATE - 10].any()


def test_windows_that_differ_have_different_keys():
    clips = [Clip(f"{i}", Path("none"), 1.0, "ja", None) for i in range(3)]
    keys = [window.key for window in pack(clips, data(pack=False), 30, 0)]
    assert len(set(keys)) == 3
    split = pack(clips, data(pack_gap=0.1), 30, 0)[0].key
    assert split != pack(clips, data(pack_gap=0.2), 30, 0)[0].key


def test_a_hub_data_set_is_read_with_its_audio_undecoded(tmp_path, monkeypatch):
    import datasets
    import pyarrow as pa
    import pyarrow.parquet

    soundfile.write(tmp_path / "a.wav", np.full(SAMPLE_RATE, 0.25), SAMPLE_RATE)
    stored = {"bytes": (tmp_path / "a.wav").read_bytes(), "path": "a.wav"}
    about = {"info": {"features": {"audio": {"_type": "Audio"}, "transcript": {"dtype": "string", "_type": "Value"}}}}
    table = pa.table({"audio": [stored], "transcript": ["ja"]})  # as the Hub's Parquet files hold audio
    table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    source = Source(hub="parquet", text="transcript")
    real = datasets.load_dataset

    def local(name, config, split, revision, streaming):
        return real(name, data_files=str(tmp_path / "train.parquet"), split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", local)
    (clip,) = load_training_clips([source], data(), 30).clips
    assert (clip.text, clip.seconds) == ("ja", 1.0)
    assert np.allclose(clip.read(), 0.25, atol=1e-3)
    with pytest.raises(InputError, match="no column 'text'"):
        load_training_clips([Source(hub="parquet")], data(), 30)
