"""Corpora of every layout that people have, pointed at directly: the same clips, told apart by what is there."""

import contextlib
import csv
import io
import json
import logging
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.corpora import tone, wav
from tests.data import corpora_of_others as others
from tests.data.corpora_of_others import LAYOUTS, SECONDS, SPEAKERS, TEXTS, UNKNOWN_SPEAKERS, put
from whisper_pair.config.schema import Data, Source
from whisper_pair.data.corpus import load_test_clips, load_training_clips
from whisper_pair.data.fingerprints import fingerprint
from whisper_pair.data.layouts import timed_text
from whisper_pair.data.layouts.common_voice import unquoted
from whisper_pair.data.sources import layout_of, rows_of
from whisper_pair.errors import InputError

pytestmark = pytest.mark.usefixtures("no_copies_at_home")


def data(tmp_path: Path, **more) -> Data:
    return Data(**{"train": (), "validation": (), "test": (), "cache": str(tmp_path / "cache")} | more)


def clips_of(source: Source, tmp_path: Path):
    return load_training_clips([source], data(tmp_path), 30).clips


def refusal(source: Source) -> str:
    with pytest.raises(InputError) as refused:
        list(rows_of(source))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_corpus_is_recognized_by_its_files_and_gives_its_clips(tmp_path, kind, caplog):
    LAYOUTS[kind](tmp_path / "set")
    source = Source(corpus=str(tmp_path / "set"))
    with caplog.at_level(logging.INFO, "whisper_pair"):
        found = sorted(clips_of(source, tmp_path), key=lambda clip: clip.seconds)
    assert [clip.text for clip in found] == TEXTS
    assert [clip.seconds for clip in found] == pytest.approx(SECONDS, abs=1e-3)
    if LAYOUTS[kind] not in UNKNOWN_SPEAKERS:
        assert [clip.speaker for clip in found] == SPEAKERS
    for number, clip in enumerate(found):
        assert np.abs(clip.read()[:16000] - others.speech(number)[:16000]).max() < 1e-3
    with caplog.at_level(logging.INFO, "whisper_pair"):
        again = clips_of(source, tmp_path)
    assert caplog.messages.count(f"{source.corpus}: read as {kind.strip()}") == 1
    assert sorted(clip.name for clip in again) == sorted(clip.name for clip in found)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_fingerprint_sees_a_changed_text_or_file(tmp_path, kind):
    LAYOUTS[kind](tmp_path / "set")
    source = Source(corpus=str(tmp_path / "set"))
    before = fingerprint([source])
    assert fingerprint([source]) == before
    for path in (tmp_path / "set").rglob("*"):
        if path.is_file() and path.suffix not in (".wav", ".flac"):
            path.write_bytes(path.read_bytes() + b"\n")
    with contextlib.suppress(InputError):  # which is what a binary file gives then
        assert fingerprint([source]) != before


@pytest.mark.parametrize("kind", [kind for kind in LAYOUTS if LAYOUTS[kind] is not others.tars])
def test_audio_serves_the_assistant_without_its_text(tmp_path, kind):
    LAYOUTS[kind](tmp_path / "set")
    found = clips_of(Source(corpus=str(tmp_path / "set"), text=None), tmp_path)
    assert found
    assert {clip.text for clip in found} == {None}


def test_named_splits_are_those_that_the_corpus_has_under_the_names_people_use(tmp_path):
    for name, split in (
        ("common_voice", "validation"),
        ("mls", "validation"),
        ("own_folder", "dev"),
        ("hub_copy", "test"),
        ("saved_to_disk", "test"),
    ):
        getattr(others, name)(tmp_path / name)
        source = Source(corpus=str(tmp_path / name), split=split)
        assert [clip.text for clip in load_test_clips([source], data(tmp_path), 30, "test")] == TEXTS[:1]
    for name in ("ljspeech", "kaldi", "beside_srt", "tars"):
        getattr(others, name)(tmp_path / name)
        assert "has no splits, and so no 'test'; take a share" in refusal(
            Source(corpus=str(tmp_path / name), split="test"))  # fmt: skip
    others.nemo(tmp_path / "nemo")
    assert "has no splits" in refusal(Source(corpus=str(tmp_path / "nemo" / "train_manifest.json"), split="test"))
    message = refusal(Source(corpus=str(tmp_path / "common_voice"), split="test"))
    assert "there is no split 'test'; it has dev, train" in message


@pytest.mark.parametrize("ending", ["tar.gz", "tar"])
def test_a_release_in_a_tar_is_unpacked_once_and_nothing_leaves_its_folder(tmp_path, ending):
    others.common_voice(tmp_path / "set")
    archive = tmp_path / f"cv-corpus-17.0-nl.{ending}"
    with tarfile.open(archive, "w:gz" if ending == "tar.gz" else "w") as tar:
        tar.add(tmp_path / "set" / "cv-corpus-17.0-2024-03-15", "cv-corpus-17.0-2024-03-15")
        link = tarfile.TarInfo("cv-corpus-17.0-2024-03-15/nl/clips/link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    source = Source(corpus=str(archive))
    assert [clip.text for clip in clips_of(source, tmp_path)] == TEXTS
    (folder,) = [path for path in (tmp_path / "cache" / "unpacked").iterdir() if path.is_dir()]
    assert not list(folder.rglob("link.wav"))
    before = folder.stat().st_mtime_ns
    clips_of(source, tmp_path)
    assert folder.stat().st_mtime_ns == before
    assert fingerprint([source]) == fingerprint([source])
    with pytest.raises(InputError, match=r"set data\.cache"):
        layout_of(source)


def test_a_tar_that_would_write_elsewhere_or_fill_the_disk_is_refused(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("../outside.wav")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"RIFF"))
    with pytest.raises(InputError, match=r"'\.\./outside\.wav' would be unpacked outside of its folder"):
        layout_of(Source(corpus=str(tmp_path / "evil.tar.gz")), str(tmp_path / "cache"))
    assert not (tmp_path / "cache" / "outside.wav").exists()
    from whisper_pair.data.layouts import archives

    monkeypatch.setattr(archives, "LARGE", 1000)
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("zeros.wav")
        member.size = 1 << 22
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    zipped(tmp_path / "bomb.zip", {"zeros.wav": bytes(1 << 22)})
    for name in ("bomb.tar.gz", "bomb.zip"):
        with pytest.raises(InputError, match="unpacks to more than"):
            layout_of(Source(corpus=str(tmp_path / name)), str(tmp_path / "cache"))


def zipped(path: Path, files: dict[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_corpus_in_a_zip_is_unpacked_once_without_its_links(tmp_path):
    others.mls(tmp_path / "set")
    archive = tmp_path / "mls-dutch.zip"
    files = {str(p.relative_to(tmp_path / "set")): p.read_bytes() for p in (tmp_path / "set").rglob("*") if p.is_file()}
    zipped(archive, files)
    with zipfile.ZipFile(archive, "a") as packed:
        link = zipfile.ZipInfo("mls_dutch/train/audio/anna/7/link.flac")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
        packed.writestr("__MACOSX/mls_dutch/._train", b"x")
    source = Source(corpus=str(archive))
    assert sorted(clip.text for clip in clips_of(source, tmp_path)) == sorted(TEXTS)
    (folder,) = [path for path in (tmp_path / "cache" / "unpacked").iterdir() if path.is_dir()]
    assert not list(folder.rglob("link.flac"))
    before = folder.stat().st_mtime_ns
    assert len(clips_of(source, tmp_path)) == 5
    assert folder.stat().st_mtime_ns == before
    assert fingerprint([source]) == fingerprint([source])


@pytest.mark.parametrize("name", ["../outside.wav", "a/../../outside.wav", "..\\outside.wav"])
def test_a_zip_that_would_write_elsewhere_is_refused(tmp_path, name):
    archive = zipped(tmp_path / "evil.zip", {name: b"RIFF"})
    with pytest.raises(InputError, match=r"would be unpacked outside of its folder"):
        layout_of(Source(corpus=str(archive)), str(tmp_path / "cache"))
    assert not list(tmp_path.rglob("*outside.wav"))
    absolute = zipped(tmp_path / "set.zip", {f"{tmp_path}/inside.wav": b"RIFF"})
    layout_of(Source(corpus=str(absolute), text=None), str(tmp_path / "cache"))
    assert not (tmp_path / "inside.wav").exists()


@pytest.mark.parametrize("damage", ["cut", "changed", "changed, by LZMA", "no zip", "encrypted"])
def test_a_damaged_zip_is_refused_in_one_sentence(tmp_path, damage):
    packed = zipfile.ZIP_LZMA if "LZMA" in damage else zipfile.ZIP_DEFLATED
    archive = zipped(tmp_path / "a.zip", {"a.wav": others.clip(0)}, packed)
    content = bytearray(archive.read_bytes())
    if damage == "cut":
        content = content[:-30]
    elif damage.startswith("changed"):
        content[60:160] = bytes(100)
    elif damage == "no zip":
        content = bytearray(b"PK no zip")
    else:
        content[6] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match="cannot be unpacked into") as refused:
        layout_of(Source(corpus=str(archive)), str(tmp_path / "cache"))
    assert "\n" not in str(refused.value)


def test_a_damaged_tar_is_refused_in_one_sentence(tmp_path):
    archive = tmp_path / "a.tar.xz"
    with tarfile.open(archive, "w:xz") as packed:
        for number in range(4):
            content = np.random.default_rng(number).bytes(200_000)
            member = tarfile.TarInfo(f"{number}.wav")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    content = bytearray(archive.read_bytes())
    content[300_000:300_100] = bytes(100)
    archive.write_bytes(content)
    with pytest.raises(InputError, match="cannot be unpacked into") as refused:
        layout_of(Source(corpus=str(archive)), str(tmp_path / "cache"))
    assert "\n" not in str(refused.value)


# Audio that is elsewhere


def names_outside(folder: Path, name: str) -> dict[str, Source]:
    """A corpus of each layout that names paths, one of which is `name`."""
    put(folder / "cv" / "clips" / "a.wav", b"")
    put(folder / "cv" / "train.tsv", f"client_id\tpath\tsentence\na\t{name}\tja\n")
    put(folder / "lj" / "wavs" / "a.wav", b"")
    put(folder / "lj" / "metadata.csv", f"{name.removesuffix('.wav')}|ja|ja\n")
    put(folder / "kaldi" / "wav.scp", f"utt1 {name}\n")
    put(folder / "kaldi" / "text", "utt1 ja\n")
    put(folder / "nemo" / "list.jsonl", json.dumps({"audio_filepath": name, "text": "ja", "duration": 1.0}) + "\n")
    cut = {"id": "c", "start": 0.0, "duration": 1.0, "channel": 0, "supervisions": [], "type": "MonoCut"}
    put(folder / "lhotse" / "cuts.jsonl", json.dumps(cut | {"recording": others.lhotse_recording(name, 1.0)}) + "\n")
    return {kind: Source(corpus=str(folder / kind)) for kind in ("cv", "lj", "kaldi", "nemo", "lhotse")}


@pytest.mark.parametrize("kind", ["cv", "lj", "kaldi", "nemo", "lhotse"])
@pytest.mark.parametrize("way", ["above", "absolute", "link"])
def test_audio_outside_of_the_corpus_is_refused_unless_root_names_its_folder(tmp_path, kind, way):
    put(tmp_path / "private" / "a.wav", wav(tone(1, 9)))
    deep = {"cv": "../../../", "lj": "../../../"}.get(kind, "../../")
    name = {"above": f"{deep}private/a.wav", "absolute": str(tmp_path / "private" / "a.wav"), "link": "link.wav"}[way]
    if way == "absolute" and kind in ("cv", "lj"):
        name = f"{deep}private/a.wav"  # their tables name files of one folder
    source = names_outside(tmp_path / "sets", name)[kind]
    if way == "link":
        inside = {"cv": "clips", "lj": "wavs"}.get(kind, ".")
        os.symlink(tmp_path / "private" / "a.wav", tmp_path / "sets" / kind / inside / "link.wav")
    assert "outside of" in (message := refusal(source)) or "leaves the folder" in message
    assert "name the folder that its audio may be in as the source's root" in message
    if way == "absolute" and kind not in ("cv", "lj"):
        from dataclasses import replace

        allowed = replace(source, root=str(tmp_path / "private"), text=None)
        assert [clip.seconds for clip in clips_of(allowed, tmp_path)] == [1.0]


@pytest.mark.parametrize("ending", [".txt", ".srt"])
def test_a_text_that_is_a_link_to_elsewhere_is_not_read(tmp_path, ending):
    (tmp_path / "private").write_text("1\n00:00:00,000 --> 00:00:01,000\ngeheim\n")
    for i in range(2):
        put(tmp_path / "set" / f"{i}.wav", others.clip(i))
    put(tmp_path / "set" / f"0{ending}", (tmp_path / "private").read_text().replace("geheim", "ja"))
    os.symlink(tmp_path / "private", tmp_path / "set" / f"1{ending}")
    rows = list(rows_of(Source(corpus=str(tmp_path / "set"))))
    assert not any("geheim" in (row.text or "") for row in rows)
    assert [row.problem for row in rows if row.name.endswith("1.wav")] == ["no text of the same name"]


@pytest.mark.parametrize("command", ["touch {}/ran |", "| touch {}/ran", "touch {}/ran; cat a.wav |"])
def test_a_command_in_place_of_audio_is_never_run(tmp_path, command):
    others.kaldi(tmp_path / "set")
    put(tmp_path / "set" / "wav.scp", f"utt0 audio/0.wav\nutt1 {command.format(tmp_path)}\n")
    message = refusal(Source(corpus=str(tmp_path / "set")))
    assert "wav.scp, line 2: utt1 is a command, which is never run" in message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["command", "url", "memory", "shar"])
def test_lhotse_audio_that_is_no_file_is_refused_in_words(tmp_path, kind):
    cut = {"id": "c", "start": 0.0, "duration": 1.0, "channel": 0, "supervisions": [], "type": "MonoCut"}
    others.lhotse_file(tmp_path / "cuts.jsonl.gz", [cut | {"recording": others.lhotse_recording("x", 1.0, kind)}])
    assert f"its audio is a {kind}, which is neither run nor fetched" in refusal(Source(corpus=str(tmp_path)))


# What is refused or dropped, and counted


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: None, "there is no such file or folder"),
        (lambda p: p.mkdir(), "holds none of metadata.csv, Common Voice"),
        (lambda p: put(p / "a.wav", others.clip(0)), "for audio without text, set text: null"),
        (lambda p: (others.mls(p), put(p / "mls_dutch" / "train" / "transcripts.txt", "a_1_2\tja\nb ja\n")),
         "transcripts.txt, line 2: expected SPEAKER_BOOK_NUMBER, a tab and a text"),
        (lambda p: (others.kaldi(p), (p / "text").unlink()), "there is no such file; for audio without text"),
        (lambda p: (others.kaldi_segments(p), put(p / "segments", "utt0 rec 0.0\n")), "segments, line 1 has 3 fields"),
        (lambda p: (others.kaldi_segments(p), put(p / "segments", "utt0 x 0 1\n")), "there is no recording x"),
        (lambda p: (others.ljspeech(p), put(p / "metadata.csv", "a|b\nc\n")), "metadata.csv, line 2 has 1 cells"),
        (lambda p: (others.beside_srt(p), put(p / "long.srt", "no subtitles")), "cannot be read as srt"),
        (lambda p: (others.beside_vtt(p), put(p / "long.vtt", "00:00 no header")), "cannot be read as vtt"),
        (lambda p: (others.beside_textgrid(p), put(p / "long.TextGrid", "no grid")), "cannot be read as TextGrid"),
        (lambda p: (others.beside_stm(p), put(p / "stm" / "long.stm", "long 1 a 0\n")), "expected recording, channel"),
        (lambda p: (others.beside_srt(p), put(p / "long.vtt", "WEBVTT\n")), "has the texts long.srt and long.vtt"),
        (lambda p: (others.lhotse_cuts(p), put(p / "cuts.jsonl", "{\n")), "several could be|cannot be read"),
        (lambda p: (others.common_voice(p),
                    put(p / "cv-corpus-17.0-2024-03-15" / "nl" / "train.tsv", "client_id\tpath\tsentence\na\n")),
         "has 1 fields, and needs 3"),
    ],
)  # fmt: skip
def test_a_corpus_that_cannot_be_read_is_refused_in_one_sentence(tmp_path, write, message):
    write(tmp_path / "set")
    refused = None
    try:
        list(rows_of(Source(corpus=str(tmp_path / "set"))))
    except InputError as error:
        refused = str(error)
    assert refused is not None or message.startswith("several")
    assert refused is None or any(part in refused for part in message.split("|"))


def test_a_segment_past_its_recording_and_a_recording_without_text_are_counted(tmp_path):
    others.beside_srt(tmp_path / "set")
    put(tmp_path / "set" / "alone.wav", others.clip(1))
    with open(tmp_path / "set" / "long.srt", "a", encoding="utf-8") as file:
        file.write("\n10\n00:01:00,000 --> 00:01:02,000\nte laat\n")
    corpus = load_training_clips([Source(corpus=str(tmp_path / "set"))], data(tmp_path), 30)
    assert len(corpus.clips) == 5
    assert corpus.dropped == {"segment": 1, "no text of the same name": 1}


# Open-ended input


@given(st.text(st.characters(exclude_characters="\r\n\t", exclude_categories=["Cs"])))
def test_a_sentence_in_quotation_marks_comes_back_as_it_was_written(sentence):
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="").writerow([sentence])
    assert unquoted(out.getvalue()) == sentence


@pytest.mark.parametrize("sentence", ['"Ja" zei hij', 'Hij zei "ja"', '"', '"Ja," zei hij, "nee."'])
def test_a_sentence_that_merely_holds_quotation_marks_is_left_as_it_is(sentence):
    assert unquoted(sentence) == sentence


HEADS = (b"", b"WEBVTT\n\n", b"1\n00:00:01,000 --> 00:00:02,000\n", b'File type = "ooTextFile"\n')


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))),
    ending=st.sampled_from([".srt", ".vtt", ".stm", ".TextGrid", ".txt"]),
    head=st.sampled_from(HEADS),
)
def test_any_file_of_times_is_read_or_refused_in_one_sentence(tmp_path, content, ending, head):
    path = tmp_path / f"a{ending}"
    path.write_bytes(head + content)
    message, found = "", []
    try:
        found = timed_text.read(path, None)
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert all(timed.text.strip() for timed in found)
