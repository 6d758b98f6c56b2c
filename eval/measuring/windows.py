"""The test clips as windows for the encoder: full ones, or as long as the clips."""

from collections.abc import Sequence

from torch import Tensor

from whisper_pair.data import Clip
from whisper_pair.decoding import FEATURE_FRAMES, shortened, window_frames


def windows_of(features: Tensor, clips: Sequence[Clip], margin: float | None) -> list[Tensor]:
    """Features [clips, mel, frames] of full windows -> each clip's [mel, 2 F], which ends `margin` seconds after the
    clip, rounded up as in decoding. margin None: full windows."""
    full = features.shape[-1] // FEATURE_FRAMES
    return [
        shortened(window, window_frames(clip.seconds, margin, full))
        for window, clip in zip(features, clips, strict=True)
    ]
