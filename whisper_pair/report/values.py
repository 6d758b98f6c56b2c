"""Types of single figures in a report."""

from typing import Literal

Interval = list[float]  # [low, high]
DraftTokens = int | Literal["auto"]
SpeedVerdict = Literal["faster", "slower", "unclear"]
