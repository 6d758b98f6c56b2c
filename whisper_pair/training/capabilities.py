"""What a model was trained to do, as recorded beside its weights."""

from collections.abc import Sequence

from ..checkpoints import Capabilities
from ..config import Config
from ..data import Window


def capabilities_of(windows: Sequence[Window], config: Config) -> Capabilities:
    """Of a checkpoint that was trained on these windows; there must be one."""
    return Capabilities(
        timestamps=sum(window.timestamps for window in windows) / len(windows),
        previous_text=sum(window.previous is not None for window in windows) / len(windows),
        tasks=(config.task,),
        languages=(config.language,),
    )
