"""Texts without case or punctuation, with the style that the checkpoint to be trained gives them.

Trained on a lower-case corpus, Whisper forgets how to write. So a clip of a source with `restore_style` is transcribed
by the checkpoint that training starts from. Where transcript and text differ in case and punctuation alone, the
transcript takes the text's place: the words are the human's, the style Whisper's own. The other clips leave the main's
training and still serve the assistant. To keep pseudo-labels that match the human text is the filter of Distil-Whisper
(2311.00430), here at no error at all.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from ..audio import LogMel
from ..checkpoints import load_main, weight_digests
from ..config import Config
from ..data import Clip, Corpus, features_of, fingerprint
from ..decoding import Engine, Options
from ..runs import stop_on_signals, write_json
from ..text import WITHOUT_SPACES, Normalizer, text_of

logger = logging.getLogger(__name__)
PART = 64  # clips whose transcripts are written together
NOT_RESTORED = "style not restored"


def with_restored_style(
    corpus: Corpus, config: Config, start: Path, dtype: torch.dtype, log_mel: LogMel, tokenizer: Any
) -> Corpus:
    """The corpus with the texts of its restore_style sources replaced, or their clips dropped and counted.

    `start`: the checkpoint that training starts from; it runs in `dtype`. Transcripts are kept under data.cache, part
    by part, so that a stopped run goes on. Processes share the work.
    """
    plain = [clip for clip in corpus.clips if _wanted(clip)]
    if not plain:
        return corpus
    transcripts = _transcripts(plain, config, start, dtype, log_mel, tokenizer)
    normalizer = Normalizer.of(config.text_language, tokenizer)

    def compared(text: str) -> str:
        form = normalizer(text)
        return form.replace(" ", "") if config.text_language in WITHOUT_SPACES else form

    restored: dict[tuple[str, float], str] = {
        (clip.name, clip.start): transcript
        for clip, transcript in zip(plain, transcripts, strict=True)
        if compared(transcript) == compared(clip.text or "")
    }
    logger.info("restored the style of %d of %d texts; the rest serve the assistant", len(restored), len(plain))
    clips: list[Clip] = []
    for clip in corpus.clips:
        if not _wanted(clip):
            clips.append(clip)
        elif (text := restored.get((clip.name, clip.start))) is not None:
            clips.append(replace(clip, text=text, times=()))
        else:
            corpus.drop(NOT_RESTORED, clip.name)
    corpus.clips = clips
    corpus.need_clips()
    return corpus


def _wanted(clip: Clip) -> bool:
    return clip.text is not None and clip.source is not None and clip.source.restore_style


def _transcripts(
    clips: Sequence[Clip], config: Config, start: Path, dtype: torch.dtype, log_mel: LogMel, tokenizer: Any
) -> list[str]:
    """One transcript a clip, by plain greedy decoding."""
    from tqdm import tqdm

    processes = PartialState()
    folder = Path(config.data.cache or Path(config.output) / "data") / f"restored-{_key(clips, config, start, dtype)}"
    folder.mkdir(parents=True, exist_ok=True)
    files = {first: folder / f"clips-{first:08d}.json" for first in range(0, len(clips), PART)}
    missing = [first for first, file in files.items() if not file.is_file()]
    processes.wait_for_everyone()  # no process writes before all have seen what there is
    mine = missing[processes.process_index :: processes.num_processes]
    if mine:
        main = load_main(start, dtype, processes.device)
        engine = Engine(main)
        options = Options(language=config.language, task=config.task, draft_tokens=0, batch_size=16)
        silent = not processes.is_main_process

        def stored() -> str:
            return f"{sum(file.is_file() for file in files.values())} of {len(files)} parts of the transcripts are kept"

        with (
            stop_on_signals(stored) as check,
            tqdm(mine, desc="restoring style", unit="part", disable=silent) as bar,
        ):
            for first in bar:
                features = features_of(clips[first : first + PART], log_mel, main.device)
                decoded = engine.decode(features, options)
                write_json(files[first], [text_of(tokenizer, one.tokens).strip() for one in decoded])
                check()
    processes.wait_for_everyone()
    return [text for file in files.values() for text in json.loads(file.read_text(encoding="utf-8"))]


def _key(clips: Sequence[Clip], config: Config, start: Path, dtype: torch.dtype) -> str:
    """Names the clips, the checkpoint and how it decodes."""
    sources = fingerprint(list(dict.fromkeys(clip.source for clip in clips if clip.source is not None)))
    names = hashlib.sha256("\n".join(f"{clip.name} {clip.start} {clip.seconds}" for clip in clips).encode()).hexdigest()
    known = [weight_digests(start), sources, names, config.language, config.task, str(dtype), PART]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]
