"""Sound in: every rate, channel count and container; the spectrogram is WhisperFeatureExtractor's."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor

from whisper_pair.audio.augment import spec_augment
from whisper_pair.audio.log_mel import LogMel, to_pcm
from whisper_pair.audio.reading import audio_seconds, read_audio
from whisper_pair.audio.sound import SAMPLE_RATE
from whisper_pair.errors import InputError


def tone(seconds: float, rate: int, channels: int = 1, hertz: float = 440.0) -> np.ndarray:
    wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def encoded(samples: np.ndarray, rate: int, **kind) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **kind)
    return buffer.getvalue()


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_any_rate_and_channel_count_becomes_16_khz_mono(rate, channels):
    data = encoded(tone(0.5, rate, channels), rate, format="WAV", subtype="PCM_16")
    found, wanted = read_audio(data), tone(0.5, SAMPLE_RATE)[:, 0]
    assert abs(len(found) - len(wanted)) <= 1
    middle = slice(1000, 7000)  # away from the resampler's edges
    assert np.abs(found[middle] - wanted[middle]).max() < 2e-3


def test_what_libsndfile_cannot_read_is_read_by_pyav(tmp_path):
    import av

    path = tmp_path / "tone.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="stereo")
        samples = tone(1.0, 44_100, 2).T
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with pytest.raises(soundfile.SoundFileError):
        soundfile.read(path)
    found = read_audio(path)
    spectrum = np.abs(np.fft.rfft(found))
    assert abs(len(found) / SAMPLE_RATE - 1.0) < 0.1
    assert abs(spectrum.argmax() * SAMPLE_RATE / len(found) - 440.0) < 3
    assert abs(audio_seconds(path) - len(found) / SAMPLE_RATE) < 0.1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be decoded"),
        (b"this is a text file", "cannot be decoded"),
        (encoded(np.zeros((0, 1), np.float32), 16_000, format="WAV"), "empty"),
        (encoded(np.full((99, 1), np.nan, np.float32), 16_000, format="WAV", subtype="FLOAT"), "NaN"),
    ],
)
def test_audio_that_cannot_be_used_is_named_in_one_sentence(data, reason):
    with pytest.raises(InputError, match=reason) as error:
        read_audio(data, "clip 7")
    assert "clip 7" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.wav"):
        read_audio(tmp_path / "gone.wav")


def test_the_length_is_read_from_the_header():
    assert audio_seconds(encoded(tone(1.25, 22_050), 22_050, format="FLAC")) == pytest.approx(1.25, abs=1e-3)


@pytest.mark.parametrize(("mel_bins", "window"), [(80, 30), (128, 30), (80, 6)])
def test_the_spectrogram_is_that_of_the_stock_feature_extractor(mel_bins, window):
    extractor = WhisperFeatureExtractor(feature_size=mel_bins, chunk_length=window)
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * SAMPLE_RATE).astype(np.float32)
    clips = [tone(2.0, SAMPLE_RATE)[:, 0], noise]
    log_mel = LogMel(extractor)
    found = log_mel(log_mel.pad(clips))
    stock = extractor(clips, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
    assert found.shape == stock.shape
    assert (found - stock).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loudness", [0.3, 1e-4])
def test_under_autocast_a_spectrogram_is_that_of_float32(dtype, loudness):
    log_mel = LogMel(WhisperFeatureExtractor())
    waves = log_mel.pad([(loudness * tone(3, SAMPLE_RATE)[:, 0]).astype(np.float32)])
    expected = log_mel(waves)
    with torch.autocast("cpu", dtype):
        found = log_mel(waves)
        assert (waves[:, :9] @ waves[:, :9].T).dtype == dtype  # autocast is on
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_a_clip_longer_than_the_window_is_refused():
    log_mel = LogMel(WhisperFeatureExtractor(chunk_length=6))
    with pytest.raises(InputError, match=r"7\.0 s is longer than the model's window of 6 s"):
        log_mel.pad([np.zeros(7 * SAMPLE_RATE, np.int16)])


def test_pcm_keeps_sixteen_bits_of_a_wave():
    wave = tone(0.1, SAMPLE_RATE)[:, 0]
    assert np.abs(to_pcm(wave).astype(np.float32) / 32768 - wave).max() <= 0.5 / 32768 + 1e-7
    assert to_pcm(np.array([-2.0, 2.0])).tolist() == [-32768, 32767]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**40), st.integers(1, 40), st.integers(1, 60))
def test_spec_augment_masks_with_the_mean_and_depends_on_its_seed_alone(seed, mel_bins, frames):
    mel = torch.rand(mel_bins, frames)
    masks = SimpleNamespace(time_masks=2, time_width=100, mel_masks=2, mel_width=20)
    before = mel.clone()
    found = spec_augment(mel, masks, seed)
    assert torch.equal(found, spec_augment(mel, masks, seed))
    assert torch.equal(mel, before)
    changed = found != mel
    assert torch.equal(found[changed], mel.mean().expand(int(changed.sum())))
