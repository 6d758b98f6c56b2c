"""Windows as long as their speech: how long they are, and the encoder over them.

Whisper pads every clip to 30 s. A main that was trained to can do with less: its encoder sees the first frames of the
same spectrogram, at the same positions, and nothing of the padding after them. Lengths are counted in encoder frames,
50 a second, and rounded up to a few sizes, so that windows of like length are encoded together.
"""

import math

import torch.nn.functional as F
from torch import Tensor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

FRAMES_PER_SECOND = 50  # of the encoder
FEATURE_FRAMES = 2  # of the spectrogram, an encoder frame
FRAME_BUCKET = 100  # frames, 2 s: lengths are multiples of it, or the full window


def bucketed(frames: int, full: int) -> int:
    """So many frames rounded up to a multiple of FRAME_BUCKET, and `full` at most."""
    return min(full, -(-frames // FRAME_BUCKET) * FRAME_BUCKET)


def coarse(frames: int, full: int) -> int | None:
    """FRAME_BUCKET times the power of two that holds so many frames, at most the full window's, or None where they are
    all of those: what steps take is measured once for each of these lengths, so that a short window never goes by what
    full ones take."""
    if frames >= full:
        return None
    found = FRAME_BUCKET
    while found < frames:
        found *= 2
    return min(found, full)


def window_frames(seconds: float, margin: float | None, full: int) -> int:
    """The window's length for so many seconds of speech and a margin of `margin` seconds after them, bucketed. margin
    None: the full window's. The speech counts in whole frames of the spectrogram, as in `with_margin`."""
    if margin is None:
        return full
    sound = max(1, math.floor(round(seconds * FRAMES_PER_SECOND * FEATURE_FRAMES, 6)))  # a window is never empty
    return bucketed(math.ceil(round(sound / FEATURE_FRAMES + margin * FRAMES_PER_SECOND, 6)), full)


def shortened(features: Tensor, frames: int) -> Tensor:
    """Features [..., mel, full] of full windows -> those of windows of so many encoder frames: [..., mel, 2 frames]."""
    return features[..., : FEATURE_FRAMES * frames]


def with_margin(window: Tensor, sound: int, margin: float | None) -> Tensor:
    """A full window's features [mel, full], whose first `sound` frames are not padding, up to `margin` seconds after
    those: [mel, 2 F]. margin None: all of it."""
    seconds, full = sound / FEATURE_FRAMES / FRAMES_PER_SECOND, window.shape[1] // FEATURE_FRAMES
    return shortened(window, window_frames(seconds, margin, full))


def stride_of(encoder: WhisperEncoder) -> int:
    """Feature frames an encoder frame: 2."""
    return int(encoder.conv1.stride[0] * encoder.conv2.stride[0])


def encoder_states(encoder: WhisperEncoder, features: Tensor) -> Tensor:
    """features [B, mel, 2 F] -> states [B, F, d], for any F up to the full window's. Gradients flow.

    transformers' own forward refuses all lengths but the full one, for which it is called here. A shorter window goes
    through the same modules, with the first F positions.
    """
    ours = not isinstance(encoder, WhisperEncoder)  # for_inference's, which takes any length
    if ours or (frames := features.shape[-1] // stride_of(encoder)) == encoder.config.max_source_positions:
        full: Tensor = encoder(features).last_hidden_state
        return full
    x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(features)))).transpose(1, 2)
    x = F.dropout(x + encoder.embed_positions.weight[:frames], encoder.dropout, encoder.training)
    for layer in encoder.layers:
        x = layer(x, None)
    found: Tensor = encoder.layer_norm(x)
    return found
