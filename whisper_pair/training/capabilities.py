"""What a model was trained to do, as recorded beside its weights."""

from collections.abc import Sequence

from ..checkpoints import Capabilities, ShortWindows
from ..config import Config, Train
from ..data import Window

DECODING_MARGIN = 0.5  # seconds after the end of the speech, where training's margins allow it: see docs/choices.md


def capabilities_of(
    windows: Sequence[Window], config: Config, short_windows: ShortWindows | None = None
) -> Capabilities:
    """Of a checkpoint that was trained on these windows; there must be one."""
    return Capabilities(
        timestamps=sum(window.timestamps for window in windows) / len(windows),
        previous_text=sum(window.previous is not None for window in windows) / len(windows),
        tasks=(config.task,),
        languages=(config.language,),
        short_windows=short_windows,
    )


def planned_capabilities(config: Config) -> Capabilities:
    """Of the main that the config is to train."""
    data, short_windows = config.data, None if config.train is None else short_windows_of(config.train)
    return Capabilities(data.timestamps, data.previous_text, (config.task,), (config.language,), short_windows)


def short_windows_of(settings: Train) -> ShortWindows | None:
    """What a main learns of short windows by these settings."""
    if settings.short_windows is None:
        return None
    low, high = settings.short_windows.margin
    return ShortWindows(settings.short_windows.share, low, high, min(max(low, DECODING_MARGIN), high))
