"""A folder of sixty broken things among a few good ones: each gets its counted reason, the rest is processed."""

import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.corpora import tone, wav
from tests.data.tables import data
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.config.schema import Source
from whisper_pair.data import corpus as corpus_module
from whisper_pair.data.corpus import load_test_clips, load_training_clips
from whisper_pair.errors import InputError

RNG = np.random.default_rng(5)
NOISE = RNG.integers(0, 256, 4000, np.uint8).tobytes()
TEXT = "wat hier gezegd wordt"
UNREADABLE, SILENT, PACE = "unreadable", "silent", "characters per second"


def header(data_bytes: int, rate: int = SAMPLE_RATE, channels: int = 1, bits: int = 16, form: int = 1) -> bytes:
    """A WAV file's first 44 bytes."""
    block = channels * bits // 8
    return (
        b"RIFF" + struct.pack("<I", min(36 + data_bytes, 0xFFFFFFFF)) + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, form, channels, rate, rate * block, block, bits)
        + b"data" + struct.pack("<I", data_bytes)
    )  # fmt: skip


def spoiled(value: float) -> bytes:
    samples = tone(2, 14)
    samples[777] = value
    return wav(samples, subtype="FLOAT")


def odd_but_sound() -> dict[str, bytes]:
    """Audio that is unusual and can be decoded."""
    eight = np.stack([tone(2, 20 + channel) for channel in range(8)], axis=1)
    return {
        "eight-channels.wav": wav(eight),
        "192-khz.wav": wav(tone(2, 31, 192_000), 192_000),
        "8-khz.wav": wav(tone(2, 32, 8_000), 8_000),
        "11-khz.wav": wav(tone(2, 33, 11_025), 11_025),
        "8-bit.wav": wav(tone(2, 34), subtype="PCM_U8"),
        "24-bit.wav": wav(tone(2, 35), subtype="PCM_24"),
        "float.wav": wav(tone(2, 36), subtype="FLOAT"),
        "double.wav": wav(tone(2, 37), subtype="DOUBLE"),
        "a-law.wav": wav(tone(2, 38), subtype="ALAW"),
        "over-full-scale.wav": wav(50 * tone(2, 39), subtype="FLOAT"),
        "wrong-ending.wav": wav(tone(2, 40), container="FLAC"),
        "piped.wav": header(0xFFFFFFFF) + (tone(2, 41) * 32767).astype("<i2").tobytes(),
        "vorbis.ogg": wav(tone(2, 42), container="OGG", subtype="VORBIS"),
        "opus.opus": wav(tone(2, 43), container="OGG", subtype="OPUS"),
        "lossy.mp3": wav(tone(2, 44), container="MP3", subtype="MPEG_LAYER_III"),
        "apple.aiff": wav(tone(2, 45), container="AIFF"),
        "name with spaces é.wav": wav(tone(2, 46)),
    }


def broken_audio() -> dict[str, tuple[bytes, str]]:
    good, flac = wav(tone(2, 11)), wav(tone(2, 12), container="FLAC")
    vorbis = wav(np.tile(0.1 * RNG.normal(size=16_000), 9), container="OGG", subtype="VORBIS")
    opus = wav(tone(9, 13), container="OGG", subtype="OPUS")
    return {
        "zero-length.wav": (b"", UNREADABLE),
        "zero-length.flac": (b"", UNREADABLE),
        "text.wav": (b"dit is geen geluid\n", UNREADABLE),
        "text-utf16.wav": ("geen geluid".encode("utf-16"), UNREADABLE),
        "json.ogg": (b'{"audio": null}', UNREADABLE),
        "html.mp3": (b"<!DOCTYPE html><html><body>404</body></html>", UNREADABLE),
        "noise.wav": (NOISE, UNREADABLE),
        "noise.flac": (b"fLaC" + NOISE, UNREADABLE),
        "noise.ogg": (b"OggS" + NOISE, UNREADABLE),
        "noise.opus": (NOISE[:100], UNREADABLE),
        "zeros.wav": (bytes(5000), UNREADABLE),
        "picture.wav": (b"\x89PNG\r\n\x1a\n" + NOISE, UNREADABLE),
        "zipped.wav": (gzip.compress(good), UNREADABLE),
        "half-a-header.wav": (good[:20], UNREADABLE),
        "header-alone.wav": (header(0), UNREADABLE),
        "header-of-more.wav": (header(64_000), UNREADABLE),
        "no-data-chunk.wav": (good[:36], UNREADABLE),
        "no-channels.wav": (header(64_000, channels=0) + NOISE, UNREADABLE),
        "no-rate.wav": (header(64_000, rate=0) + NOISE, UNREADABLE),
        "unknown-coding.wav": (header(4_000, form=0x7777) + NOISE, UNREADABLE),
        "nan.wav": (spoiled(np.nan), UNREADABLE),
        "infinite.wav": (spoiled(np.inf), UNREADABLE),
        "minus-infinite.wav": (spoiled(-np.inf), UNREADABLE),
        "cut.wav": (good[: len(good) // 2], "truncated"),
        "cut-late.wav": (good[:-2_000], "truncated"),
        "cut.flac": (flac[: len(flac) // 2], UNREADABLE),
        "cut-early.flac": (flac[:200], UNREADABLE),
        "cut.ogg": (vorbis[: 2 * len(vorbis) // 3], "truncated"),
        "cut.opus": (opus[: len(opus) // 2], "truncated"),
        "scrambled.flac": (flac[:3_000] + NOISE + flac[3_000:], "truncated"),
        "silence.wav": (wav(np.zeros(32_000)), SILENT),
        "silence.flac": (wav(np.zeros(32_000), container="FLAC"), SILENT),
        "one-step.wav": (wav(np.full(32_000, 1 / 32768)), SILENT),
        "whisper-of-noise.wav": (wav(RNG.normal(0, 1e-4, 32_000)), SILENT),
        "too-short.wav": (wav(tone(0.05, 15)), "too short"),
        "one-sample.wav": (wav(np.full(1, 0.5)), "too short"),
        "31-seconds.wav": (wav(tone(31, 16)), "over 30 s"),
        "a-minute.flac": (wav(tone(60, 17), container="FLAC"), "over 30 s"),
        "same-sound.wav": (wav(tone(2, 10)), "duplicate"),
        "same-sound-again.wav": (wav(tone(2, 10)), "duplicate"),
        "unlisted.wav": (wav(tone(2, 18)), "not in the metadata"),
        "unlisted.mp3": (b"", "not in the metadata"),
    }


BAD_TEXTS = {
    "empty.wav": ("", "empty text"),
    "blank.wav": (" \t\n ", "empty text"),
    "no-break-spaces.wav": ("\u00a0\u3000", "empty text"),
    "a-whole-book.wav": ("en toen " * 400, PACE),
    "fast.wav": ("w" * 101, PACE),
    "not-utf-8.wav": ("caf\udce9", "text is not UTF-8"),  # the byte 0xe9, as Latin-1 has it
    "half-a-character.wav": ("\udce2\udc82", "text is not UTF-8"),
}
GONE = ["gone.wav", "", "folder.wav", "dead-link.wav", "zero\0byte.wav", "nowhere/at/all.wav", "n" * 300 + ".wav"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> tuple[Source, dict[str, str], set[str]]:
    """The folder, the reason for each of its bad clips, and the names of the good ones."""
    folder = tmp_path_factory.mktemp("broken")
    wanted: dict[str, str] = {}
    good = {"good.wav": wav(tone(2, 10)), "untold.wav": wav(tone(2, 19))} | odd_but_sound()
    rows = []

    def listed(name: str | None, text: str | None = TEXT) -> None:
        rows.append({"file_name": name, "text": text})

    for name, content in good.items():
        (folder / name).write_bytes(content)
        listed(name, None if name == "untold.wav" else TEXT)
    for name, (content, reason) in broken_audio().items():
        (folder / name).write_bytes(content)
        wanted[name] = reason
        if not name.startswith("unlisted"):
            listed(name)
    for number, (name, (text, reason)) in enumerate(BAD_TEXTS.items()):
        (folder / name).write_bytes(wav(tone(2, 60 + number)))
        wanted[name] = reason
        listed(name, text)
    (folder / "slow.wav").write_bytes(wav(tone(20, 80)))
    wanted["slow.wav"] = PACE
    listed("slow.wav", "ja")
    with open(folder / "three-hours.wav", "wb") as file:  # a sparse file: no room on disk, no time to write
        file.write(header(3 * 3600 * SAMPLE_RATE * 2))
        file.truncate(44 + 3 * 3600 * SAMPLE_RATE * 2)
    wanted["three-hours.wav"] = "over 30 s"
    listed("three-hours.wav")
    (folder / "folder.wav").mkdir()
    (folder / "dead-link.wav").symlink_to(folder / "nothing-there.wav")
    for name in GONE:
        wanted[name] = "missing file"
        listed(name)
    listed(None)
    listed("good.wav")
    listed("./good.wav", "nog een keer")
    wanted |= {"good.wav": "listed twice", "./good.wav": "listed twice"}
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_bytes("".join(lines).encode("utf-8", "surrogateescape"))
    return Source(folder=str(folder)), wanted, set(good)


def test_sixty_broken_things_are_counted_by_their_reasons_and_the_rest_is_used(broken, monkeypatch):
    monkeypatch.setattr(corpus_module, "NAMED", 1_000)
    source, wanted, good = broken
    assert len(wanted) >= 60
    corpus = load_training_clips([source], data(), 30)
    assert {clip.name.removeprefix(f"{source.folder}/") for clip in corpus.clips} == good
    for clip in corpus.clips:
        samples = clip.read()
        assert abs(len(samples) / SAMPLE_RATE - 2) < 0.2, clip.name
        assert np.isfinite(samples).all()
    found = {
        name.removeprefix(f"{source.folder}/"): reason for reason, names in corpus.examples.items() for name in names
    }
    assert set(found) == set(wanted)
    for name, reason in wanted.items():
        assert reason in found[name], (name, found[name])
    assert sum(corpus.dropped.values()) == len(wanted) + 1  # the row whose name is null, and that whose name is ""


def test_each_of_them_is_refused_by_name_in_a_test_set(broken, tmp_path):
    """One refusal each; what only training minds (a duplicate, silence, an odd text) is kept and scored."""
    source, wanted, _ = broken
    bad = {name: reason for name, reason in wanted.items() if reason in (UNREADABLE, "truncated", "over 30 s")}
    assert len(bad) > 30
    for name in bad:
        (tmp_path / "metadata.csv").write_text(f"file_name,text\n{name},ja\n")
        (tmp_path / name).write_bytes(b"")
        (tmp_path / name).unlink()
        (tmp_path / name).hardlink_to(Path(source.folder) / name)
        with pytest.raises(InputError) as refusal:
            load_test_clips([Source(folder=str(tmp_path))], data(), 30, "test")
        assert name in str(refusal.value)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"file_name,text\n", b"\xff\xfe\x00", b"a,b\n1,2\n", b'"\n'])
def test_metadata_without_a_usable_row_is_refused_in_one_sentence(tmp_path, content):
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(InputError) as refusal:
        load_training_clips([Source(folder=str(tmp_path))], data(), 30)
    assert "\n" not in str(refusal.value)


def test_three_hours_can_be_split_and_read_piece_by_piece(tmp_path):
    """Pieces are found by seeking: the last half minute takes no reading of three hours."""
    samples = np.concatenate([tone(30, 9 + part) for part in range(4)])
    soundfile.write(tmp_path / "long.flac", samples, SAMPLE_RATE)
    (tmp_path / "metadata.csv").write_text("file_name,text\nlong.flac,veel\n")
    corpus = load_training_clips([Source(folder=str(tmp_path))], data(long_audio="split"), 30)
    whole, _ = soundfile.read(io.BytesIO((tmp_path / "long.flac").read_bytes()), dtype="float32")
    assert len(corpus.clips) == 4
    for clip in corpus.clips:
        begin = round(clip.start * SAMPLE_RATE)
        assert np.array_equal(clip.read(), whole[begin : begin + 30 * SAMPLE_RATE])
