"""The one reader: lengths, clocks, channels and pieces of whatever a file turns out to hold."""

import contextlib
import io
import os
import struct
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.sounds import CODINGS, RATE, encode, melody, where, write, written
from whisper_pair.audio.media import Slice
from whisper_pair.audio.reading import audio_seconds, read_audio
from whisper_pair.audio.sound import Sound
from whisper_pair.config.schema import Data, Source
from whisper_pair.data.corpus import load_training_clips
from whisper_pair.data.rows import Row
from whisper_pair.data.sources import rows_of
from whisper_pair.data.survey import audit
from whisper_pair.errors import InputError

LOSSY = 0.06  # seconds that an encoder may pad a file by


def read(source, **more) -> tuple[np.ndarray, list[str]]:
    with Sound(source, "it", **more) as sound:
        samples = np.concatenate([*sound.blocks(), np.zeros(0, np.float32)])
        return samples, sound.notes.sentences()


def seconds(source) -> float:
    return len(read(source)[0]) / RATE


@pytest.mark.parametrize("ending", CODINGS)
def test_every_container_gives_what_was_put_into_it(ending):
    sound = melody(3.0)
    found, notes = read(encode(sound if CODINGS[ending][2] == RATE else melody(3.0, 48_000), ending))
    assert abs(len(found) / RATE - 3.0) <= (0.15 if ending in ("avi", "aac", "ts") else LOSSY)
    assert where(found, sound[RATE : 2 * RATE]) == pytest.approx(1.0, abs=0.07)  # an encoder's delay, where not stated
    assert notes == []


# Lengths


def headed(data: bytes, stated: int) -> bytes:
    """A WAV whose header tells another number of bytes."""
    return data[:40] + struct.pack("<I", stated % 2**32) + data[44:]


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 0x7FFFFFF0, 63_990, 63_998, 64_002, 64_010])
def test_a_wav_is_as_long_as_it_is_whatever_its_header_states(stated):
    data = headed(written(melody(2.0)), stated)
    found, notes = read(data)
    assert len(found) == 2 * RATE
    assert notes == []
    assert audit(Row("it", data, None, None), 30).problem is None


def test_chunks_after_the_samples_of_a_wav_are_no_sound():
    data = written(melody(2.0))
    assert seconds(data + b"LIST\x04\0\0\0INFO") == 2.0
    assert seconds(headed(data[:-1] + b"\0", 63_999) + b"id3 \x02\0\0\0ab") == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (written(melody(2.0)), written(melody(3.0))),
        (written(melody(2.0)), written(melody(3.0, 8_000), rate=8_000)),
        (written(melody(2.0), "FLAC"), written(melody(3.0), "FLAC")),
        (written(melody(2.0), "FLAC"), written(melody(3.0, 8_000), "FLAC", rate=8_000)),
        (written(melody(2.0), "OGG"), written(melody(3.0), "OGG")),
        (written(melody(2.0), "OGG"), written(melody(3.0, 8_000), "OGG", rate=8_000)),
        (written(melody(2.0), "OGG", "OPUS"), written(melody(3.0), "OGG", "OPUS")),
        (encode(melody(2.0), "mp3"), encode(melody(3.0), "mp3")),
        (encode(melody(2.0), "m4a"), encode(melody(3.0), "m4a")),
        (encode(melody(2.0), "mka"), encode(melody(3.0), "mka")),
        (encode(melody(2.0), "ts"), encode(melody(3.0), "ts")),
        (encode(melody(2.0), "aac"), encode(melody(3.0, 22_050), "aac", 22_050)),
        (encode(melody(2.0), "aac"), encode(np.stack([melody(3.0)] * 2), "aac")),
    ],
)
def test_files_that_were_joined_are_read_to_the_end(first, second):
    found, _ = read(first + second)
    assert len(found) / RATE == pytest.approx(5.0, abs=0.25)
    assert where(found, melody(3.0)[RATE : 2 * RATE] if len(found) else found) > 0
    tail = found[int(2.3 * RATE) :]
    assert np.sqrt(np.mean(tail**2)) > 0.1


def test_an_mp3_of_variable_rate_without_a_header_is_read_whole():
    data = encode(np.concatenate([melody(3.0), np.zeros(4 * RATE, np.float32)]), "mp3")
    at = data.index(b"Info") if b"Info" in data else data.index(b"Xing")
    bare = data[data.index(b"\xff\xf3", at) if b"\xff\xf3" in data[at:] else data.index(b"\xff\xfb", at) :]
    assert seconds(bare) == pytest.approx(7.0, abs=0.15)


@pytest.mark.parametrize("samples", [0, 2**36 - 1])
def test_a_flac_of_unknown_length_is_as_long_as_it_is(samples):
    data = bytearray(written(melody(2.0), "FLAC"))
    data[21] = data[21] & 0xF0 | samples >> 32
    data[22:26] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
    assert seconds(bytes(data)) == 2.0
    assert audit(Row("it", bytes(data), None, None), 30).problem is None
    assert audit(Row("it", bytes(data), None, None), 30).seconds == 2.0


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "mka", "opus", "aiff"])
def test_a_file_that_was_cut_gives_what_is_there_and_says_so(ending):
    data = encode(melody(6.0, 48_000 if ending == "opus" else RATE), ending)
    found, notes = read(data[: len(data) // 2])
    assert 1.5 < len(found) / RATE < 4.5
    assert any("cut off" in note for note in notes)
    assert audit(Row("it", data[: len(data) // 2], None, None), 30).problem in ("truncated", "unreadable")


def test_a_rate_that_cannot_be_is_refused():
    data = bytearray(written(melody(1.0)))
    data[24:28] = (1).to_bytes(4, "little")
    with pytest.raises(InputError, match=r"1 samples a second; expected 1000"):
        read(bytes(data))


# The container's clock


@pytest.mark.parametrize("ending", ["mka", "m4a", "webm", "ts"])
@pytest.mark.parametrize("picture", [True, False])
def test_sound_that_starts_late_is_late(ending, picture):
    if (ending, picture) in (("ts", False), ("webm", True), ("m4a", True)):
        pytest.skip("a stream that starts at any number; no such picture in that container")
    sound = melody(3.0, CODINGS[ending][2])
    found, notes = read(encode(sound, ending, late=2.0, picture=picture))
    assert where(found, melody(3.0)[RATE : 2 * RATE]) == pytest.approx(3.0, abs=0.1)
    assert any("silence" in note for note in notes)


@pytest.mark.parametrize("ending", ["mka", "m4a", "webm", "ts"])
def test_a_gap_is_filled_with_silence_and_what_follows_keeps_its_time(ending):
    found, notes = read(encode(melody(4.0, CODINGS[ending][2]), ending, hole=(2.0, 3.0)))
    assert len(found) / RATE == pytest.approx(7.0, abs=0.15)
    assert where(found, melody(4.0)[3 * RATE : -RATE // 4]) == pytest.approx(6.0, abs=0.1)
    assert notes == ["3.0 s where the container holds no sound are silence"]


def test_a_leap_that_the_container_cannot_hold_is_not_followed():
    """A damaged time must not become hours of silence."""
    data = bytearray(encode(melody(4.0), "mka"))
    cluster = data.rindex(b"\xe7", 0, len(data))  # the time of the last cluster, wherever it is: any byte may be it
    for value in (0x00, 0x7F, 0xFF):
        data[cluster + 2] = value
        with contextlib.suppress(InputError):
            assert seconds(bytes(data)) < 9.0


@pytest.mark.parametrize("ending", ["m4a", "mp3", "mka", "opus"])
def test_damaged_packets_are_silence_of_their_length(ending):
    rate = CODINGS[ending][2]
    sound, data = melody(8.0, rate), bytearray(encode(melody(8.0, rate), ending))
    place, junk = len(data) // 2, np.random.default_rng(1).integers(0, 256, 900, np.uint8).tobytes()
    data[place : place + len(junk)] = junk
    found, notes = read(bytes(data))
    assert len(found) / RATE == pytest.approx(len(sound) / rate, abs=0.15)
    assert where(found, melody(8.0)[6 * RATE : 7 * RATE]) == pytest.approx(6.0, abs=0.15)
    assert notes


def test_a_clip_with_much_damage_is_not_trained_on():
    data = bytearray(encode(melody(3.0), "m4a"))
    place = data.index(b"mdat") + len(data) // 3
    data[place : place + 4000] = np.random.default_rng(1).integers(0, 256, 4000, np.uint8).tobytes()
    found = audit(Row("it", bytes(data), "tekst", None), 30)
    assert found.problem == "unreadable"
    assert "damaged" in found.detail


# Tracks and channels


def test_the_first_track_is_read_and_another_one_on_request(tmp_path):
    film = write(tmp_path / "film.mka", encode(melody(2.0), "mka", tracks=(np.zeros(2 * RATE, np.float32),)))
    first, notes = read(film)
    assert np.abs(first).max() > 0.2
    assert notes == ["has 2 audio tracks, of which number 1 is read"]
    assert np.abs(read_audio(film, track=2)).max() < 0.01
    with pytest.raises(InputError, match="has 2 audio tracks, and no track 3"):
        read(film, track=3)


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (1.0, -1.0, "channels that cancel each other"),
        (0.0, 1.0, "a silent channel"),
        (1.0, 0.0, "a silent channel"),
        (0.7, -0.6, "channels that cancel each other"),
    ],
)
def test_channels_that_would_be_lost_in_the_mean_are_kept(left, right, message):
    sound = melody(2.0)
    found, notes = read(written(np.stack([left * sound, right * sound], 1)))
    assert np.sqrt(np.mean(found**2)) > 0.9 * max(abs(left), abs(right)) * np.sqrt(np.mean(sound**2)) - 0.01
    assert any(message in note for note in notes)


def test_two_voices_on_two_channels_are_both_kept():
    one, two, quiet = melody(12.0), melody(12.0, seed=5)[::-1], np.zeros(12 * RATE, np.float32)
    talk = np.stack([np.concatenate([one, quiet, one]), np.concatenate([quiet, two, two])], 1)
    found, _ = read(written(talk))
    for part in np.split(found, 9):
        assert np.sqrt(np.mean(part**2)) > 0.1
    assert np.abs(read(written(np.stack([one, two], 1)))[0] - (one + two) / 2).max() < 1e-3


@pytest.mark.parametrize("scale", [2**15, 2**23, 2**31])
def test_integers_that_were_stored_as_floats_are_scaled(scale):
    sound = melody(1.0)
    found, notes = read(written(np.rint(sound.astype(np.float64) * scale * 0.9), subtype="DOUBLE"))
    assert np.abs(found - 0.9 * sound).max() < 1e-4
    assert "integers" in notes[0]
    loud = 5 * sound.astype(np.float64)
    assert np.abs(read(written(loud, subtype="DOUBLE"))[0] - loud).max() < 1e-6


# Pieces


@pytest.mark.parametrize("ending", CODINGS)
def test_a_piece_is_what_the_whole_has_there(ending, tmp_path):
    rate = CODINGS[ending][2]
    path = write(tmp_path / f"long.{ending}", encode(melody(40.0, rate), ending))
    whole = read_audio(path)
    off = 20 if ending == "webm" else 0  # its times are in milliseconds
    for start, length in ((0.0, 3.0), (24.0, 4.0), (36.0003, 2.0), (23.0, 3.0)):
        piece, first = read_audio(path, start=start, seconds=length), round(start * RATE)
        assert len(piece) == length * RATE
        shifts = range(-min(off, first), off + 1)
        assert min(np.abs(piece - whole[first + k : first + k + len(piece)]).max() for k in shifts) < 0.05
    assert len(read_audio(path, start=39.0, seconds=30.0)) == pytest.approx(len(whole) - 39 * RATE, abs=20)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_a_piece_of_joined_files_is_what_the_whole_has_there(form, tmp_path):
    path = write(tmp_path / "joined", written(melody(30.0), form) + written(melody(30.0, seed=1), form))
    whole = read_audio(path)
    for start in (25.0, 45.0):
        piece, first = read_audio(path, start=start, seconds=3.0), round(start * RATE)
        assert np.abs(piece - whole[first : first + len(piece)]).max() < 0.05


def test_reading_in_pieces_costs_no_more_memory_than_a_piece(tmp_path):
    path = write(tmp_path / "long.flac", written(np.tile(melody(60.0), 20), "FLAC"))
    read_audio(path, start=30.0, seconds=1.0)
    before, most = psutil.Process().memory_info().rss, 0
    with Sound(path) as sound:
        for first in range(0, 1200 * RATE, 30 * RATE):
            assert len(sound.read(first, 30 * RATE)) == 30 * RATE
            most = max(most, psutil.Process().memory_info().rss)
    assert most - before < 60 * 2**20


def test_a_part_of_a_file_is_read_as_if_it_stood_alone(tmp_path):
    data = written(melody(2.0), "FLAC")
    path = write(tmp_path / "tar", b"\0" * 512 + data + b"\0" * 512)
    assert np.array_equal(read_audio(Slice(path, 512, len(data))), read_audio(data))
    assert audio_seconds(Slice(path, 512, 2**50)) == 2.0  # a member that claims a petabyte


# What is no file, or leads elsewhere


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{}\n#EXT-X-ENDLIST\n",
    "live": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{}'\n",
    "pls": "[playlist]\nFile1={}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?>\n<MPD><Period><BaseURL>{}</BaseURL></Period></MPD>',
    "concat": "concat:{}|{}",
    "bom": "\ufeff  #EXTM3U\n{}\n",
    "image2": "{}%03d.wav",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_refused_in_words_and_nothing_in_it_is_opened(kind, tmp_path, monkeypatch):
    secret = write(tmp_path / "secret.wav", written(melody(1.0)))
    path = tmp_path / "list.wav"
    path.write_text(PLAYLISTS[kind].replace("{}", str(secret)), encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(InputError) as refusal:
        read(path)
    assert time.monotonic() - began < 5
    if kind not in ("concat", "image2"):
        assert "never opened" in str(refusal.value)


@pytest.mark.parametrize("made", ["pipe", "device", "folder", "socket"])
def test_what_is_no_file_is_not_waited_for(made, tmp_path):
    path = tmp_path / "clip.wav"
    match made:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path = "/dev/zero"
        case "folder":
            path.mkdir()
        case "socket":
            import socket

            with socket.socket(socket.AF_UNIX) as end:
                end.bind(str(path))
    refused = []

    def attempt():
        with pytest.raises(InputError) as refusal:
            read(path)
        refused.append(str(refusal.value))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(10)
    assert refused


def test_an_mp4_that_claims_more_samples_than_bytes_is_refused():
    data = bytearray(encode(melody(1.0), "m4a"))
    at = data.index(b"stsz") + 8
    data[at : at + 8] = struct.pack(">II", 4, 2**31 - 1)
    with pytest.raises(InputError, match="claims 2147483647 samples"):
        read(bytes(data))


def test_a_tar_member_that_claims_a_terabyte_costs_what_is_there(tmp_path):
    tar, data = tmp_path / "0.tar", written(melody(2.0))
    with tarfile.open(tar, "w", format=tarfile.GNU_FORMAT) as out:
        for name, content in (("a.wav", data), ("a.txt", b"hallo"), ("b.wav", data), ("b.txt", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
        huge = tarfile.TarInfo("c.txt")
        huge.size = 2**40
        out.fileobj.write(huge.tobuf(tarfile.GNU_FORMAT))
        out.offset = out.fileobj.tell()
    rows, refusal = [], None
    try:
        for row in rows_of(Source(webdataset=str(tar))):
            rows.append(row)
    except InputError as error:
        refusal = str(error)
    assert [row.text for row in rows[:2]] == ["hallo", "x"]
    assert refusal is None or "tar" in refusal
    assert all(row.problem for row in rows[2:])


def test_a_corpus_counts_what_is_odd_what_is_left_out_and_what_has_another_ending(tmp_path):
    sound = melody(2.0)
    write(tmp_path / "phase.wav", written(np.stack([sound, -sound], 1)))
    write(tmp_path / "recording", written(melody(2.0, seed=1), "FLAC"))  # known by its first bytes
    write(tmp_path / "voice.awb2", encode(melody(2.0, seed=2), "m4a"))
    write(tmp_path / "other.mka", encode(melody(2.0, seed=3), "mka"))
    write(tmp_path / "README.md", b"no audio")
    write(tmp_path / "list.m3u8", b"#EXTM3U\nphase.wav\n")
    corpus = load_training_clips([Source(folder=str(tmp_path), text=None)], Data((), (), ()), 30)
    names = {Path(clip.name).name for clip in corpus.clips}
    assert names == {"phase.wav", "recording", "voice.awb2", "other.mka"}
    assert corpus.dropped == {"no audio": 2}
    assert "of those used, 1 with channels that cancel each other" in corpus.report("training")
