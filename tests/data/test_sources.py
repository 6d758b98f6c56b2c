"""Every form of source gives the same clips; what one pass over the audio found is kept."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.corpora import FORMS, clips, tone, wav, write, write_parquet, write_table, write_tar
from whisper_pair.audio.log_mel import to_pcm
from whisper_pair.config.schema import Data, Source
from whisper_pair.data import survey as survey_module
from whisper_pair.data.corpus import load_test_clips, load_training_clips
from whisper_pair.data.fingerprints import fingerprint
from whisper_pair.data.packing import pack
from whisper_pair.errors import InputError

ROOT = Path(__file__).parent.parent.parent


pytestmark = pytest.mark.usefixtures("no_copies_at_home")


def data(tmp_path: Path, **settings) -> Data:
    return Data(**{"train": (), "validation": (), "test": (), "cache": str(tmp_path / "cache")} | settings)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_source_gives_the_same_clips_and_windows_twice(tmp_path, form):
    rows = clips()
    wanted = load_training_clips([write(tmp_path / "plain", "folder", rows)], data(tmp_path), 30).clips
    windows = pack(wanted, data(tmp_path), 30, seed=0)
    source = write(tmp_path / form, form, rows)
    for _ in range(2):  # the second time from what the first found
        found = load_training_clips([source], data(tmp_path), 30).clips
        assert [(c.text, c.speaker, c.seconds) for c in found] == [(c.text, c.speaker, c.seconds) for c in wanted]
        for one, two in zip(found, wanted, strict=True):
            assert np.array_equal(one.read(), two.read())
        for one, two in zip(pack(found, data(tmp_path), 30, seed=0), windows, strict=True):
            assert (one.text, one.times) == (two.text, two.times)
            assert np.array_equal(one.pcm(), two.pcm())


@pytest.mark.parametrize("form", FORMS)
def test_fingerprints_of_different_contents_differ(tmp_path, form):
    source = write(tmp_path / "one", form, clips())
    before = fingerprint([source])
    assert fingerprint([source]) == before
    changed = write(tmp_path / "two", form, clips(7))
    assert fingerprint([changed])[0]["sha256"] != before[0]["sha256"]


def test_another_audio_column_is_another_corpus(tmp_path):
    source = write(tmp_path / "one", "streamed", clips())
    assert fingerprint([replace(source, audio="far_microphone")]) != fingerprint([source])
    load_training_clips([source], data(tmp_path), 30)
    with pytest.raises(InputError, match="no column 'far_microphone'"):  # and not the audio that was kept
        load_training_clips([replace(source, audio="far_microphone")], data(tmp_path), 30)


@pytest.mark.parametrize("form", ["folder", "streamed"])
def test_audio_is_listened_to_once_however_often_it_is_loaded(tmp_path, form, monkeypatch):
    source = write(tmp_path / form, form, clips())
    listened = []
    real = survey_module.audit
    monkeypatch.setattr(survey_module, "audit", lambda row, longest: listened.append(row.name) or real(row, longest))
    for _ in range(2):
        load_training_clips([source], data(tmp_path), 30)
    assert len(listened) == 6
    if form == "folder":  # other bytes of the same size under the same name are decoded again
        (tmp_path / form / "0000.wav").write_bytes(wav(tone(1, 77)))
        load_training_clips([source], data(tmp_path), 30)
        assert len(listened) == 12


@pytest.mark.parametrize("form", ["folder", "streamed"])
def test_a_pass_that_is_killed_goes_on_where_it_stood(tmp_path, form):
    """A real process, killed while it listens; what it had written is not listened to again."""
    source = write(tmp_path / form, form, clips(40))
    script = textwrap.dedent(f"""
        import datasets, os, time
        from whisper_pair.config import Source
        from whisper_pair.data import survey

        def slow_audit(row, longest):
            time.sleep(0.01)
            os.write(1, row.name.encode() + b"\\n")
            return audit(row, longest)

        datasets.config.HF_DATASETS_CACHE = {str(tmp_path / "datasets")!r}
        survey.PART, survey.AT_ONCE, audit, survey.audit = 4, 2, survey.audit, slow_audit
        list(survey.survey({source!r}, {str(tmp_path / "cache")!r}, 30))
    """)

    def start() -> subprocess.Popen:
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=env)

    first = start()
    decoded = [first.stdout.readline().strip() for _ in range(18)]
    first.send_signal(signal.SIGKILL)
    decoded += first.communicate()[0].split()
    again = start().communicate()[0].split()
    assert len(decoded) < 40
    assert len(set(decoded) & set(again)) <= 4  # the part in flight
    assert len(set(decoded) | set(again)) == 40
    parts = sorted((tmp_path / "cache").rglob("part-*.parquet"))
    assert len(parts) == 10


def test_streamed_audio_is_kept_as_16_khz_flac_and_not_fetched_again(tmp_path):
    rows = [{"audio": wav(tone(1, 9, 44_100), 44_100), "text": "ja", "speaker": "a"}]
    source = write(tmp_path / "set", "streamed", rows)
    (clip,) = load_training_clips([source], data(tmp_path), 30).clips
    assert len(clip.read()) == 16_000
    kept = list((tmp_path / "cache").rglob("*.flac"))
    assert [path.read_bytes()[:4] for path in kept] == [b"fLaC"]
    assert len(list((tmp_path / "cache").rglob("complete"))) == 1


def test_a_streamed_set_needs_a_folder_to_be_kept_in(tmp_path):
    source = write(tmp_path / "set", "streamed", clips())
    with pytest.raises(InputError, match=r"set data\.cache"):
        load_training_clips([source], data(tmp_path, cache=None), 30)


def test_a_folder_of_audio_alone_serves_distillation(tmp_path):
    write(tmp_path / "set", "folder", clips())
    (tmp_path / "set" / "metadata.csv").unlink()
    (tmp_path / "set" / "notes.txt").write_text("not audio")
    found = load_training_clips([Source(folder=str(tmp_path / "set"), text=None)], data(tmp_path), 30).clips
    assert [clip.text for clip in found] == [None] * 6
    with pytest.raises(InputError, match=r"holds none of metadata\.csv.*set text: null"):
        load_training_clips([Source(folder=str(tmp_path / "set"))], data(tmp_path), 30)


def test_a_weight_below_one_leaves_out_a_seeded_share(tmp_path):
    source = write(tmp_path / "set", "folder", clips(40))
    half = load_training_clips([replace(source, weight=0.5)], data(tmp_path), 30)
    assert 10 < len(half.clips) < 30
    assert half.dropped["left out by weight"] == 40 - len(half.clips)
    again = load_training_clips([replace(source, weight=0.5)], data(tmp_path), 30)
    assert again.clips == half.clips


@pytest.mark.parametrize(
    ("write_it", "source", "message"),
    [
        (lambda p: (p / "a.tar").write_bytes(b"no tar"), lambda p: {"webdataset": f"{p}/a.tar"}, "uncompressed tar"),
        (lambda p: None, lambda p: {"webdataset": f"{p}/*.tar"}, "no such file, folder or pattern"),
        (lambda p: (p / "a.parquet").write_bytes(b"no"), lambda p: {"parquet": f"{p}/a.parquet"},
         "cannot be read as parquet"),
        (lambda p: None, lambda p: {"manifest": f"{p}/a.csv"}, "there is no such file"),
        (lambda p: (p / "a.xls").write_text(""), lambda p: {"manifest": f"{p}/a.xls"}, "ends in .csv, .tsv,"),
        (lambda p: (p / "a.jsonl").write_text("[1]\n"), lambda p: {"manifest": f"{p}/a.jsonl"}, "no JSON object"),
        (lambda p: write_table(p / "a.csv", [{"audio": "../x.wav", "text": ""}]),
         lambda p: {"manifest": f"{p}/a.csv"}, "leaves the folder"),
        (lambda p: write_tar(p / "a.tar", clips(1)), lambda p: {"webdataset": f"{p}/a.tar", "text": "words"},
         "no column 'words'; it has"),
        (lambda p: write_parquet(p / "a.parquet", clips(1)), lambda p: {"parquet": f"{p}/a.parquet", "text": "words"},
         "no column 'words'; it has"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_read_gets_one_sentence(tmp_path, write_it, source, message):
    write_it(tmp_path)
    with pytest.raises(InputError) as refusal:
        load_training_clips([Source(**source(tmp_path))], data(tmp_path), 30)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_clip_of_the_test_set_in_training_is_refused_by_name(tmp_path):
    rows = clips()
    train = write(tmp_path / "train", "folder", rows)
    samples, rate = soundfile.read(io.BytesIO(rows[3]["audio"]), dtype="int16")
    flac = rows[3] | {"audio": wav(samples, rate, container="FLAC")}  # the same sound in another container
    test = write(tmp_path / "test", "webdataset", [flac])
    with pytest.raises(InputError, match=r"holds 1 clips of the .* test sets \(.*0003\.wav = .*0000\)"):
        load_training_clips([train], data(tmp_path, test=(test,)), 30)
    assert len(load_test_clips([test], data(tmp_path), 30, "test")) == 1


def test_a_refusal_that_is_remembered_keeps_nobody_waiting(tmp_path):
    """The survey's lock is released even while the refusal's traceback still holds its frames."""
    source = write(tmp_path / "test", "folder", clips())
    (tmp_path / "test" / "0002.wav").write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"0002\.wav") as first:
        load_test_clips([source], data(tmp_path), 30, "test")
    with pytest.raises(InputError, match=r"0002\.wav"):
        load_test_clips([source], data(tmp_path), 30, "test")
    assert first.traceback


def test_duplicates_are_dropped_whatever_their_names(tmp_path):
    rows = clips()
    source = write(tmp_path / "train", "parquet", [*rows, rows[0] | {"text": "iets anders"}])
    corpus = load_training_clips([source], data(tmp_path), 30)
    assert len(corpus.clips) == 6
    assert corpus.dropped["duplicate"] == 1
    assert corpus.examples["duplicate"][0].endswith("#6")


def test_a_path_in_place_of_audio_is_not_followed_to_anyones_files(tmp_path):
    """A data set may say where its audio is; that is no leave to read there."""
    import pyarrow as pa
    import pyarrow.parquet

    (tmp_path / "private.wav").write_bytes(wav(tone(1, 9)))
    (tmp_path / "set").mkdir()
    rows = [{"audio": {"bytes": None, "path": str(tmp_path / "private.wav")}, "text": "ja"}]
    rows += [{"audio": {"bytes": wav(tone(1, 8)), "path": "0.wav"}, "text": "ja"}]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / "0.parquet")
    for stream in (False, True):
        source = Source(parquet=str(tmp_path / "set"), stream=stream)
        corpus = load_training_clips([source], data(tmp_path), 30)
        assert [clip.name[-2:] for clip in corpus.clips] == ["#1"]
        assert sum(corpus.dropped.values()) == 1


def test_names_and_texts_of_any_bytes_are_kept_apart_from_what_can_be_stored(tmp_path):
    (tmp_path / "set").mkdir()
    odd = os.fsencode(str(tmp_path / "set")) + b"/caf\xe9.wav"
    Path(os.fsdecode(odd)).write_bytes(wav(tone(1, 9)))
    (tmp_path / "set" / "metadata.csv").write_bytes(b"file_name,text\ncaf\xe9.wav,ja\n")
    for text in ("text", None):
        with pytest.raises(InputError, match="1 name is not UTF-8"):
            load_training_clips([Source(folder=str(tmp_path / "set"), text=text)], data(tmp_path), 30)
    write_tar(tmp_path / "a.tar", [{"audio": wav(tone(1, 9)), "text": "ja", "speaker": "\ud800"}])
    with pytest.raises(InputError, match="1 text is not UTF-8"):
        load_training_clips([Source(webdataset=str(tmp_path / "a.tar"), speaker="speaker")], data(tmp_path), 30)


def test_half_a_stream_is_not_taken_for_the_whole(tmp_path, monkeypatch):
    """The state beside the last part says where the stream stood."""
    monkeypatch.setattr(survey_module, "PART", 4)
    source = write(tmp_path / "set", "streamed", clips(10))
    whole = [row.name for row, _ in survey_module.survey(source, str(tmp_path / "cache"), 30)]
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "complete").unlink()
    (folder / "part-000002.parquet").unlink()
    assert json.loads((folder / "part-000001.state").read_text())
    again = [row.name for row, _ in survey_module.survey(source, str(tmp_path / "cache"), 30)]
    assert again == whole
    assert len(whole) == len(set(whole)) == 10


@pytest.mark.real
@pytest.mark.parametrize("form", FORMS)
def test_real_dutch_comes_alike_out_of_every_form(tmp_path, form):
    """Ogg Vorbis files, and copies of them as the Hub's sets hold audio; none of training's is in another split."""
    dutch = Path(os.environ["WHISPER_PAIR_REALDATA"]) / "dutch"
    sources = {split: Source(folder=str(dutch / split), speaker="speaker") for split in ("train", "validation", "test")}
    settings = data(tmp_path, validation=(sources["validation"],), test=(sources["test"],))
    wanted = load_training_clips([sources["train"]], settings, 30)
    assert len(wanted.clips) > 1000
    some = wanted.clips[:200]
    rows = [{"audio": clip.audio.read_bytes(), "text": clip.text, "speaker": clip.speaker} for clip in some]
    found = load_training_clips([write(tmp_path / form, form, rows)], settings, 30)
    assert [(clip.text, clip.speaker, clip.seconds) for clip in found.clips] == [
        (clip.text, clip.speaker, clip.seconds) for clip in some
    ]
    for one, two in zip(found.clips, some, strict=True):
        if form == "streamed":  # kept as 16-bit FLAC of 16 kHz, so cut at full scale
            assert np.array_equal(to_pcm(one.read()), to_pcm(two.read())[: len(one.read())])
        else:
            assert np.array_equal(one.read(), two.read())
