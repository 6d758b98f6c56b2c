"""What a model was trained to do, as recorded beside its weights."""

from collections.abc import Sequence

from ..checkpoints import Capabilities, ShortWindows
from ..config import Config
from ..data import Window

DECODING_MARGIN = 1.0  # seconds after the end of the speech, where training's margins allow it


def capabilities_of(windows: Sequence[Window], config: Config) -> Capabilities:
    """Of a checkpoint that was trained on these windows; there must be one."""
    return Capabilities(
        timestamps=sum(window.timestamps for window in windows) / len(windows),
        previous_text=sum(window.previous is not None for window in windows) / len(windows),
        tasks=(config.task,),
        languages=(config.language,),
        short_windows=_short_windows(config),
    )


def _short_windows(config: Config) -> ShortWindows | None:
    settings = None if config.train is None else config.train.short_windows
    if settings is None:
        return None
    low, high = settings.margin
    return ShortWindows(settings.share, low, high, min(max(low, DECODING_MARGIN), high))
