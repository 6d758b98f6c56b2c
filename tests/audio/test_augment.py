"""Perturbed copies are the same speech, new audio, and repeatable."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from whisper_pair.audio.augment import Perturbation, at_level, at_speed, in_room, with_noise
from whisper_pair.config.schema import Data, Perturb
from whisper_pair.data.clips import Clip, Window
from whisper_pair.data.packing import pack, perturbed_copies

SECOND = 16_000


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SECOND)) / SECOND)).astype(np.float32)


def loudest_frequency(samples: np.ndarray) -> float:
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * SECOND / len(samples)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**62), st.integers(200, 3 * SECOND))
def test_a_copy_depends_on_its_seed_alone_and_is_never_too_long_or_too_loud(seed, length):
    samples = np.random.default_rng(1).uniform(-0.9, 0.9, length).astype(np.float32)
    perturbation = Perturbation(Perturb(speed=0.3, room=0.5, noise=0.5), seed, 2 * SECOND)
    copy = perturbation(samples)
    assert np.array_equal(copy, perturbation(samples))
    assert not np.array_equal(copy, replace(perturbation, seed=seed + 1)(samples))
    assert 0 < len(copy) <= 2 * SECOND
    assert np.isfinite(copy).all()
    assert np.abs(copy).max() <= 1.0 + 1e-6
    assert copy.dtype == np.float32


@given(st.integers(0, 2**62))
@settings(max_examples=25, deadline=None)
def test_a_window_that_is_full_is_never_slowed_down_past_its_end(seed):
    full = tone(2.0)
    slowest = Perturbation(Perturb(speed=0.5, room=0, noise=0), seed, len(full))
    assert len(slowest(full)) <= len(full)
    assert slowest._speed(np.random.default_rng(seed), len(full)) >= 1.0


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.25])
def test_speed_changes_length_and_pitch_together(speed):
    found = at_speed(tone(1.0), speed)
    assert len(found) == pytest.approx(SECOND / speed, abs=2)
    assert loudest_frequency(found) == pytest.approx(440 * speed, abs=2)


@pytest.mark.parametrize("snr", [0.0, 10.0, 30.0])
def test_noise_is_as_far_below_the_speech_as_requested(snr):
    speech = tone(2.0)
    noise = with_noise(speech, snr, np.random.default_rng(0)) - speech
    assert 10 * np.log10((speech**2).mean() / (noise**2).mean()) == pytest.approx(snr, abs=0.1)


def test_noise_over_digital_silence_stays_silence():
    silence = np.zeros(SECOND, np.float32)
    assert np.array_equal(with_noise(silence, 10.0, np.random.default_rng(0)), silence)


def test_a_room_keeps_speech_in_its_place_and_lets_it_ring():
    click = np.zeros(SECOND, np.float32)
    click[1000] = 0.5
    reflected = in_room(click, 0.3, 6.0, np.random.default_rng(0))
    assert np.abs(reflected[:1000]).max() < 1e-6
    assert np.abs(reflected).argmax() == 1000
    assert (reflected[1001:3000] ** 2).sum() > 10 * (reflected[4000:] ** 2).sum()
    echo = reflected - click
    assert 10 * np.log10((click**2).sum() / (echo**2).sum()) == pytest.approx(6.0, abs=0.1)


@given(st.floats(-20, 20), st.floats(0.001, 1.0))
def test_level_never_passes_full_scale(decibels, peak):
    found = at_level(np.array([peak, -peak / 2], np.float32), decibels)
    assert np.abs(found).max() <= 1.0 + 1e-6
    assert np.abs(found).max() == pytest.approx(min(1.0, peak * 10 ** (decibels / 20)), rel=1e-4)


PLAIN = Data((), (), (), unpacked_share=0.2)


def test_a_copy_is_a_window_of_its_own_with_the_text_of_its_clips(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", tone(1.0), SECOND)
    clip = Clip("a", tmp_path / "a.wav", 1.0, "tekst", None)
    (window,) = pack([clip], PLAIN, 2.0, seed=0)

    def copies(count: int) -> list[Window]:
        return perturbed_copies([clip], PLAIN, Perturb(copies=count), 2.0, 0, 2 * SECOND)

    made = copies(3)
    assert len({window.key, *(copy.key for copy in made)}) == 4
    assert [copy.text for copy in made] == ["tekst"] * 3
    assert len({copy.pcm().tobytes() for copy in made}) == 3
    assert [copy.key for copy in copies(3)] == [copy.key for copy in made]
    assert copies(0) == []


@pytest.mark.parametrize("joins", [True, False])
def test_copies_join_other_clips_on_request_but_never_across_speakers(joins):
    clips = [Clip(f"{i}", Path(), 1.0, f"tekst {i}", "ab"[i % 2]) for i in range(60)]
    joined = {window.clips for window in pack(clips, PLAIN, 10.0, seed=0)}
    copies = perturbed_copies(clips, PLAIN, Perturb(copies=2, joins=joins), 10.0, 0, 10 * SECOND)
    assert {clip for copy in copies for clip in copy.clips} == set(clips)
    assert all(len({clip.speaker for clip in copy.clips}) == 1 for copy in copies)
    packed = {copy.clips for copy in copies if len(copy.clips) > 1}
    assert packed.isdisjoint(joined) if joins else packed <= joined
