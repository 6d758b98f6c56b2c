"""A short window is the beginning of a full one: the same spectrogram and positions, and nothing after it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import FRAMES, MELS, tiny_whisper
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from whisper_pair.decoding import FRAME_BUCKET, bucketed, coarse, encoder_states, window_frames, with_margin


@given(st.integers(1, 1500))
def test_a_bucket_holds_its_frames_and_wastes_less_than_a_bucket(frames):
    found = bucketed(frames, 1500)
    assert frames <= found <= 1500
    assert found - frames < FRAME_BUCKET


@given(st.integers(1, 1499))
def test_what_steps_take_is_learnt_for_lengths_of_at_most_twice_a_windows_and_apart_from_full_ones(frames):
    found = coarse(frames, 1500)
    assert frames <= found <= max(FRAME_BUCKET, 2 * frames - 1)
    assert found <= 1500
    assert coarse(1500, 1500) is None


def test_a_window_holds_the_speech_and_its_margin():
    assert window_frames(3.0, 1.0, 1500) == 200
    assert window_frames(3.0, 1.01, 1500) == 300
    assert window_frames(29.5, 1.0, 1500) == 1500
    assert window_frames(3.0, 1.0, 120) == 120
    assert window_frames(0.001, 0.0, 1500) == FRAME_BUCKET  # never none


@given(st.integers(1, 480_000), st.floats(0, 2))
def test_seconds_and_a_spectrograms_frames_name_the_same_window(samples, margin):
    window = torch.zeros(1, 3000)
    found = with_margin(window, samples // 160, margin)
    assert found.shape[1] == 2 * window_frames(samples / 16_000, margin, 1500)


def smaller(encoder: WhisperEncoder, frames: int) -> WhisperEncoder:
    """transformers' own encoder with the first positions alone: its full window is as long as the short one."""
    config = WhisperConfig(**{**encoder.config.to_dict(), "max_source_positions": frames})
    made = WhisperEncoder(config).eval()
    weights = encoder.state_dict()
    made.load_state_dict(weights | {"embed_positions.weight": weights["embed_positions.weight"][:frames]})
    return made


@pytest.mark.parametrize("frames", [1, 7, FRAMES])
def test_states_equal_those_of_a_stock_encoder_whose_full_window_is_as_short(frames):
    encoder = tiny_whisper().model.encoder
    features = torch.randn(3, MELS, 2 * frames)
    assert torch.equal(encoder_states(encoder, features), smaller(encoder, frames)(features).last_hidden_state)


def test_gradients_are_the_same_with_checkpointed_activations():
    model = tiny_whisper()
    encoder, features = model.model.encoder.train(), torch.randn(2, MELS, 14)
    grads = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.zero_grad()
        encoder_states(encoder, features).square().sum().backward()
        grads.append(encoder.layers[0].fc1.weight.grad.clone())
    assert grads[0].abs().sum() > 0
    assert torch.equal(*grads)
