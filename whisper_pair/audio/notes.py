"""What was odd about an audio file, in words."""

from dataclasses import dataclass, field


@dataclass
class Notes:
    """What was odd about a file, and how it was read nevertheless."""

    damaged: int = 0  # packets
    lost: float = 0.0  # seconds of those packets, by their own statement
    holes: float = 0.0  # seconds of silence where the container has no sound
    missing: float = 0.0  # seconds that a header states and that are not there
    cut: bool = False  # the end is missing
    tracks: int = 1
    track: int = 1
    impossible_times: bool = False
    integers: bool = False
    channels: set[str] = field(default_factory=set)

    @property
    def kinds(self) -> list[str]:
        """Each oddity in a few words, to be counted over many files."""
        found = [*sorted(self.channels)]
        found += ["damaged packets, which are silence now"] if self.damaged else []
        found += ["holes, which are silence now"] if self.holes else []
        found += ["times that go back or jump, which are ignored"] if self.impossible_times else []
        found += ["integers stored as floats, which are scaled"] if self.integers else []
        return found

    def sentences(self) -> list[str]:
        """All oddities, for the reader of one file."""
        found = [f"has {self.tracks} audio tracks, of which number {self.track} is read"] if self.tracks > 1 else []
        found += [f"has {kind}" for kind in self.kinds if not kind.startswith(("damaged", "holes"))]
        if self.damaged:
            packets = "1 damaged packet is" if self.damaged == 1 else f"{self.damaged} damaged packets are"
            found.append(f"{packets} skipped; {self.lost:.1f} s of silence in their place")
        if self.holes:
            found.append(f"{self.holes:.1f} s where the container holds no sound are silence")
        if self.cut or self.missing:
            tail = f": {self.missing:.1f} s that its header states are not there" if self.missing else ""
            found.append(f"the file is cut off{tail}")
        return found
