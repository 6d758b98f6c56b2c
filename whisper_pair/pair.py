"""The pair as its users meet it: `Pair.from_pretrained(main, assistant).transcribe(files)`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from .audio import LogMel, read_audio
from .checkpoints import (
    Lineage,
    check_pair,
    checkpoint_folder,
    load_draft,
    load_main,
    load_processor,
    share_equal_embeddings,
)
from .decoding import Decoded, Engine, Options
from .draft_vocabulary import proposable
from .errors import InputError


@dataclass(frozen=True)
class Transcript:
    """What the pair heard in one clip, and how its drafts fared."""

    text: str
    tokens: list[int]  # after the forced prefix, end-of-text included
    language: str | None  # given or detected; None: English-only main
    rounds: int  # verifications by the main
    drafted: int  # tokens proposed by the assistant
    accepted: int  # of those, agreed with by the main
    decoded: Decoded  # everything that the engine counted


class Pair:
    """A main and its assistant, ready to transcribe. The text is the main's own; the assistant makes it come sooner."""

    def __init__(self, main, draft, processor, lineage: Lineage | None = None, draft_vocabulary=None):
        self.main, self.draft, self.processor, self.lineage = main, draft, processor, lineage
        self.log_mel = LogMel(processor.feature_extractor)
        self.engine = Engine(main, draft, draft_vocabulary=draft_vocabulary)

    @classmethod
    def from_pretrained(
        cls,
        main: str | Path,
        assistant: str | Path | None,
        dtype=None,
        device: str = "cpu",
        revision: str | None = None,
    ) -> "Pair":
        """`main` and `assistant` are folders or Hub ids; `assistant` None: the main alone.

        Raises InputError for an assistant that was not made for this main.
        """
        main_at = checkpoint_folder(str(main), revision)
        draft = lineage = vocabulary = None
        if assistant is not None:
            assistant_at = checkpoint_folder(str(assistant))
            lineage = check_pair(main_at, assistant_at)
            vocabulary = proposable(assistant_at)
            draft = load_draft(assistant_at, dtype, device)
        model = load_main(main_at, dtype, device)
        if draft is not None:
            share_equal_embeddings(model, draft)
        return cls(model, draft, load_processor(main_at), lineage, vocabulary)

    def transcribe(
        self,
        audio: Iterable,
        language: str | None = None,
        task: str = "transcribe",
        batch_size: int = 8,
        draft_tokens: int | Literal["auto"] = "auto",
        timestamps: bool = False,
        max_new_tokens: int | None = None,
        **more,
    ) -> list[Transcript]:
        """One result a clip, in order. `language` None: detected for each clip.

        `audio` holds files, float arrays at 16 kHz [samples], or log-mel tensors [mel, frames]; clips are read as their
        turn comes. `more` goes to whisper_pair.decoding.Options. Raises InputError for audio that cannot be read or is
        longer than the model's window.
        """
        if isinstance(audio, str | Path) or not isinstance(audio, Iterable):
            raise InputError("audio: expected a list of files, arrays or features; put a single one in a list.")
        options = Options(
            language=language,
            task=task,
            batch_size=batch_size,
            draft_tokens=draft_tokens if self.draft is not None else 0,
            timestamps=timestamps,
            max_new_tokens=max_new_tokens,
            **more,
        )
        found = self.engine.decode((self._features(clip, i) for i, clip in enumerate(audio)), options)
        texts = self.processor.tokenizer.batch_decode([d.tokens for d in found], skip_special_tokens=True)
        return [
            Transcript(text.strip(), d.tokens, d.language, d.rounds, d.drafted, d.accepted, d)
            for text, d in zip(texts, found, strict=True)
        ]

    def _features(self, clip, index: int):
        import torch

        if isinstance(clip, torch.Tensor) and clip.ndim == 2:
            return clip
        if isinstance(clip, str | Path):
            samples = read_audio(clip)
        else:
            samples = np.asarray(clip)
            if samples.ndim != 1 or samples.size == 0 or not np.issubdtype(samples.dtype, np.number):
                what = f"{samples.dtype} of shape {samples.shape}"
                raise InputError(f"audio {index}: expected samples [n] at 16 kHz, found {what}.")
            if not np.isfinite(samples).all():
                raise InputError(f"audio {index}: holds NaN or infinite samples.")
        return self.log_mel(self.log_mel.pad([samples]).to(self.main.device))[0]
