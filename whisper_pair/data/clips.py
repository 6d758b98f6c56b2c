"""A clip, where its audio is, and the window that holds it. Audio is read when a window is used."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..audio import SAMPLE_RATE, LogMel, Perturbation, Slice, from_pcm, read_audio, to_pcm
from ..config import Source
from ..errors import InputError
from .cells import audio_in
from .transcripts import Times

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class HubRow:
    """A row of a data set of the `datasets` library, whose audio is fetched when it is read."""

    table: Any = field(repr=False, compare=False)  # datasets.Dataset, which has no types
    row: int
    column: str  # with the audio
    rate: str | None = None  # the column with the sampling rate of audio that is a list of numbers


Audio = Path | Slice | HubRow | bytes  # bytes: of a row that is being streamed


def openable(audio: Audio, name: str) -> Path | Slice | bytes:
    """A path, a part of a file or a file's bytes, as whisper_pair.audio takes them.

    Raises InputError, naming the clip, where a row of a data set holds no audio.
    """
    if isinstance(audio, HubRow):
        row = audio.table[audio.row]
        return cell_audio(row[audio.column], name, row.get(audio.rate))
    return audio


def cell_audio(cell: object, name: str, rate: object = None) -> Path | bytes:
    """The audio in a cell of a data set: a file's bytes, or the path of a file that `datasets` itself has fetched.

    Raises InputError, naming the clip, for a path to anywhere else: a data set could name any file of the machine.
    """
    try:
        found = audio_in(cell, rate)
    except ValueError as error:
        raise InputError(f"{name}: {error}.") from error
    if isinstance(found, bytes):
        return found
    if found is None:
        raise InputError(f"{name}: the row holds no audio.")
    import datasets
    from huggingface_hub.constants import HF_HUB_CACHE

    path = Path(found).resolve()
    if not any(path.is_relative_to(Path(root).resolve()) for root in (HF_HUB_CACHE, datasets.config.HF_DATASETS_CACHE)):
        raise InputError(
            f"{name}: the row holds no audio but a path, {found!r}, which is not read; a manifest names audio files."
        )
    return path


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance: a part of some audio with its text, where that is known."""

    name: str  # says where the clip is from, in messages and labels
    audio: Audio
    seconds: float
    text: str | None
    speaker: str | None
    start: float = 0.0  # seconds into the audio where this clip begins: of a segment, or a later piece of a split clip
    source: Source | None = field(default=None, repr=False)
    times: Times = ()  # when its segments begin and end, where its text says so

    def read(self) -> np.ndarray:
        """Float32 samples at 16 kHz. Raises InputError naming the clip."""
        return read_audio(openable(self.audio, self.name), self.name, self.start, self.seconds)


def features_of(clips: Sequence[Clip], log_mel: LogMel, device: "torch.device | str" = "cpu") -> "torch.Tensor":
    """Reads the clips' audio: log-mel features [clips, mel, frames] on `device`. Raises InputError naming a clip."""
    return log_mel.features([clip.read() for clip in clips], device)


@dataclass(frozen=True)
class Window:
    """What the encoder sees at once: one clip, or several of one speaker with short silences between them."""

    clips: tuple[Clip, ...]
    gap: float = 0.0  # seconds of silence between two clips
    timestamps: bool = False  # whether its target says when its clips begin and end
    previous: str | None = None  # the text before it, where the window is prompted with that
    perturbation: Perturbation | None = None  # of a copy with changed sound

    @property
    def name(self) -> str:
        """Names the window in messages: its first clip, and how many more it holds."""
        first, rest = self.clips[0], len(self.clips) - 1
        at = f"@{first.start:.1f}" if first.start else ""
        return f"{first.name}{at}" + (f" +{rest}" if rest else "")

    @property
    def key(self) -> str:
        """The same for the same clips, gap, timestamps, prompt and perturbation: labels are looked up by it."""
        parts = [f"{clip.name}\t{clip.start}\t{clip.seconds}" for clip in self.clips]
        form = ["timestamps"] * self.timestamps + ([] if self.previous is None else [f"after {self.previous}"])
        form += [] if self.perturbation is None else [repr(self.perturbation)]
        return hashlib.sha256("\n".join([str(self.gap), *form, *parts]).encode()).hexdigest()[:24]

    @property
    def seconds(self) -> float:
        """Its length, the silences between its clips included."""
        return sum(clip.seconds for clip in self.clips) + self.gap * (len(self.clips) - 1)

    @property
    def audio_seconds(self) -> float:
        """The length of its audio, which a perturbation makes longer or shorter."""
        if self.perturbation is None:
            return self.seconds
        return self.perturbation.length(round(self.seconds * SAMPLE_RATE)) / SAMPLE_RATE

    @property
    def times(self) -> list[tuple[float, float]]:
        """When each clip begins and ends, in seconds into the window."""
        found, at = [], 0.0
        for clip in self.clips:
            found.append((at, at + clip.seconds))
            at += clip.seconds + self.gap
        return found

    @property
    def text(self) -> str | None:
        """The human text, or None where any clip lacks it."""
        texts = [clip.text for clip in self.clips if clip.text is not None]
        return " ".join(texts) if len(texts) == len(self.clips) else None

    def pcm(self) -> np.ndarray:
        """16-bit samples at 16 kHz of the whole window. Raises InputError naming a clip that cannot be read."""
        silence = np.zeros(round(self.gap * SAMPLE_RATE), np.int16)
        parts: list[np.ndarray] = []
        for clip in self.clips:
            parts += [silence, to_pcm(clip.read())] if parts else [to_pcm(clip.read())]
        whole = np.concatenate(parts)
        return whole if self.perturbation is None else to_pcm(self.perturbation(from_pcm(whole)))
