"""The Python API: `Pair.from_pretrained(main, assistant).transcribe(files)`."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .audio import LogMel, as_floats, read_audio
from .checkpoints import (
    Capabilities,
    PairManifest,
    check_pair,
    checkpoint_folder,
    draft_token_ids,
    load_draft,
    load_draft_trees,
    load_main,
    load_processor,
    locate_pair,
    share_equal_embeddings,
)
from .decoding import Decoded, DraftTree, Engine, Options, with_margin
from .errors import InputError
from .measured_rounds import MeasuredRounds
from .text import code_of, text_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import WhisperForCausalLM, WhisperForConditionalGeneration, WhisperProcessor

    from .longform import Audio, Transcription

logger = logging.getLogger(__name__)

ShortWindowsOption = Literal["auto", "off"] | bool

STOCK = re.compile(r"openai/whisper-[\w.-]+(@|$)")  # OpenAI's own on the Hub, which write timestamps


@dataclass(frozen=True)
class Transcript:
    """The text of one clip, and how its drafts fared."""

    text: str
    tokens: list[int]  # after the forced prefix, end-of-text included
    language: str | None  # given or detected; None: English-only main
    rounds: int  # verifications by the main
    drafted: int  # tokens proposed by the assistant
    accepted: int  # of those, agreed with by the main
    decoded: Decoded  # everything that the engine counted


class Pair:
    """A main and its assistant, ready to transcribe. The text is the main's own; the assistant makes it faster.

    `capabilities`, where they are known, are followed: a main that was trained without timestamps is decoded without
    them, and one that was trained in a single language is decoded in that language.
    """

    def __init__(
        self,
        main: "WhisperForConditionalGeneration",
        draft: "WhisperForCausalLM | WhisperForConditionalGeneration | None",
        processor: "WhisperProcessor",
        manifest: PairManifest | None = None,
        draft_vocabulary: "Tensor | None" = None,
        engine: Engine | None = None,
        draft_trees: list[DraftTree] | None = None,
        capabilities: Capabilities | None = None,
    ):
        """`engine`: one of this main and draft that is there already; None: a new one. `draft_trees`: those that "auto"
        may draft beside chains; None: the engine's own."""
        self.main, self.draft, self.processor, self.manifest = main, draft, processor, manifest
        self.capabilities = capabilities  # of the main; None: not known
        self.log_mel = LogMel(processor.feature_extractor)
        if engine is None:
            engine = Engine(main, draft, draft_vocabulary=draft_vocabulary, trees=draft_trees)
            engine.round_times.store = MeasuredRounds(engine)
        self.engine = engine
        # whether the main writes timestamps; None: unknown until its first windows are decoded
        self.writes_timestamps: bool | None = None if capabilities is None else capabilities.writes_timestamps
        if not engine.special.timestamps:
            self.writes_timestamps = False

    @classmethod
    def from_pretrained(
        cls,
        main: str | Path,
        assistant: str | Path | None = "its own",
        dtype: "torch.dtype | None" = None,
        device: str = "cpu",
        revision: str | None = None,
        assistant_revision: str | None = None,
    ) -> "Pair":
        """`main` and `assistant` are folders or Hub ids; `assistant` None: the main alone.

        `assistant` left out: `main` is a pair in one place, a run's folder or a published pair (see locate_pair.py).
        `dtype`: the torch type that both run in, whatever they are stored in; None: bfloat16 on a GPU that has it, else
        float16, and float32 on a CPU.
        `revision` (a branch, tag or commit) is that of the repository `main` alone, `assistant_revision` that of the
        assistant's; owner/name@revision says the same.
        Raises InputError for an assistant that was not made for this main.
        """
        from .precision import DTYPES, resolved

        dtype = DTYPES[resolved("auto", device)] if dtype is None else dtype
        if assistant == "its own":
            main, assistant = locate_pair(str(main), revision, assistant_revision)
            revision = assistant_revision = None  # the names hold them
        main_at = checkpoint_folder(str(main), revision)
        draft = manifest = vocabulary = trees = None
        if assistant is not None:
            assistant_at = checkpoint_folder(str(assistant), assistant_revision)
            manifest = check_pair(main_at, assistant_at)
            vocabulary, trees = draft_token_ids(assistant_at), load_draft_trees(assistant_at)
            draft = load_draft(assistant_at, dtype, device)
        capabilities = Capabilities.load(main_at)
        model = load_main(main_at, dtype, device)
        if draft is not None:
            share_equal_embeddings(model, draft)
        pair = cls(
            model, draft, load_processor(main_at), manifest, vocabulary, draft_trees=trees, capabilities=capabilities
        )
        if pair.writes_timestamps is None and STOCK.match(str(main)):
            pair.writes_timestamps = True
        return pair

    def transcribe(
        self,
        audio: Iterable["Audio"],
        language: str | None = None,
        task: str = "transcribe",
        batch_size: int = 8,
        draft_tokens: int | Literal["auto"] = "auto",
        timestamps: bool = False,
        max_new_tokens: int | None = None,
        short_windows: ShortWindowsOption = "auto",
        **more: Any,
    ) -> list[Transcript]:
        """One result a clip, in order.

        `audio` holds files, float arrays at 16 kHz [samples], or log-mel tensors [mel, frames]; clips are read as their
        turn comes. `language` None: the one that the main was trained for, where it is known to be one; otherwise it is
        detected for each clip. `short_windows` "auto": a clip's window ends soon after it where the main was trained
        so, which saves most of the encoder's work; "off": all windows are full ones. `more` goes to
        whisper_pair.decoding.Options. Raises InputError for audio that cannot be read or is longer than the model's
        window, and for timestamps or short windows (True) of a main that was trained without them.
        """
        refuse_single(audio)
        margin = self.margin(short_windows)
        if timestamps:
            self._refuse_timestamps()
        options = self.options(language, task, draft_tokens, batch_size=batch_size, timestamps=timestamps,
                               max_new_tokens=max_new_tokens, **more)  # fmt: skip
        found = self.engine.decode((self._features(clip, i, margin) for i, clip in enumerate(audio)), options)
        texts = [text_of(self.processor.tokenizer, self.engine.special.text(d.tokens)) for d in found]
        return [
            Transcript(text.strip(), d.tokens, d.language, d.rounds, d.drafted, d.accepted, d)
            for text, d in zip(texts, found, strict=True)
        ]

    def transcribe_long(
        self,
        audio: Iterable["Audio"],
        language: str | None = None,
        task: str = "transcribe",
        batch_size: int = 8,
        draft_tokens: int | Literal["auto"] = "auto",
        chunked: bool = False,
        word_times: bool = False,
        timestamps: bool | None = None,
        short_windows: ShortWindowsOption = "auto",
        **more: Any,
    ) -> list["Transcription"]:
        """Recordings of any length: segments with times, and word times where asked for.

        Whisper's own sequential algorithm, or `chunked`: cut at quiet places, faster for few long recordings. `audio`,
        `language` (detected in a recording's first window), `short_windows` (the last one, and all that are cut short)
        and `more` are as in `transcribe`.
        `timestamps` None: used where the main writes them, by its capabilities or else by its first windows; a main
        that does not is decoded without them, in chunks, each of them a segment. False requires `chunked`.
        """
        from .longform import transcribe

        refuse_single(audio)
        options = self.options(language, task, draft_tokens, batch_size=batch_size,
                               timestamps=True if timestamps is None else timestamps, **more)  # fmt: skip
        if timestamps is True:
            self._refuse_timestamps()
        found = transcribe(self, audio, options, chunked, word_times, as_trained=timestamps is None,
                           margin=self.margin(short_windows))  # fmt: skip
        return [transcription for _, transcription in sorted(found, key=lambda item: item[0])]

    def options(
        self, language: str | None, task: str, draft_tokens: int | Literal["auto"] = "auto", **more: Any
    ) -> Options:
        """Options, completed by what the main was trained for; warns about a task or language beyond that.

        `language` by any of its names, or None (see `transcribe`); `more` goes to Options.
        """
        drafts = draft_tokens if self.draft is not None else 0
        code, trained = self._code(language), self.capabilities
        if trained is not None:
            if code is None and len(trained.languages) == 1:
                code = trained.languages[0]
            if task not in trained.tasks or code not in (None, *trained.languages):
                logger.warning(
                    "the main was trained to %s %s, not to %s %s, so its text may be wrong",
                    " and ".join(trained.tasks), ", ".join(trained.languages), task, code or "",
                )  # fmt: skip
        return Options(language=code, task=task, draft_tokens=drafts, **more)

    def margin(self, short_windows: ShortWindowsOption) -> float | None:
        """Seconds that a window goes on after its speech, as the main was trained; None: windows are full ones.

        Raises InputError for short windows (True) of a main that was not trained on them, and for other values.
        """
        if not isinstance(short_windows, str | bool) or short_windows not in ("auto", "off", True, False):
            raise InputError(f'short_windows is {short_windows!r}, expected "auto" or "off".')
        if short_windows in ("off", False):
            return None
        trained = None if self.capabilities is None else self.capabilities.short_windows
        if trained is None and short_windows is True:
            raise InputError(
                "short_windows: the main was trained on full windows alone, and its text would be wrong; leave the "
                'option at "auto", or fine-tune with train.short_windows.'
            )
        return None if trained is None else trained.margin

    def _refuse_timestamps(self) -> None:
        if self.writes_timestamps is False:
            raise InputError(
                "timestamps: the main was trained without them, and would write wrong text; remove the option, or "
                "fine-tune with data.timestamps above 0."
            )

    def _code(self, language: str | None) -> str | None:
        """The code of a language by any of its names; a value that is not text is left for the engine to refuse."""
        if not isinstance(language, str) or language in self.engine.special.languages:
            return language
        return code_of(language)

    def _features(self, clip: "Audio", index: int, margin: float | None) -> "Tensor":
        import torch

        if isinstance(clip, torch.Tensor) and clip.ndim == 2:
            if margin is None and clip.shape[1] < self.log_mel.frames:
                raise InputError(
                    f"audio {index}: features are of {clip.shape[1]} frames, this main takes {self.log_mel.frames}; "
                    "extract and pad them with its own feature extractor."
                )
            return clip
        samples = self.samples(clip, index)
        features = self.log_mel.features([samples], self.main.device)[0]
        return with_margin(features, len(samples) // self.log_mel.hop, margin)

    @staticmethod
    def samples(clip: "Audio", index: int) -> np.ndarray:
        """Float32 samples [n] at 16 kHz of a file, or of an array of floats or 16-bit PCM."""
        if isinstance(clip, str | Path):
            return read_audio(clip)
        samples = np.asarray(clip)
        known = samples.dtype == np.int16 or np.issubdtype(samples.dtype, np.floating)
        if samples.ndim != 1 or samples.size == 0 or not known:
            what = f"{samples.dtype} of shape {samples.shape}"
            raise InputError(f"audio {index}: expected samples [n] at 16 kHz, floats or int16, found {what}.")
        if not np.isfinite(samples).all():
            raise InputError(f"audio {index}: holds NaN or infinite samples.")
        return as_floats(samples)


def refuse_single(audio: object) -> None:
    """InputError for a single file or array, where a list of them belongs."""
    if isinstance(audio, str | Path) or not isinstance(audio, Iterable):
        raise InputError("audio: expected a list of files, arrays or features; put a single one in a list.")
