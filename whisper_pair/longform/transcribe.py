"""Recordings of any length through the engine, many at once: in each wave, every recording gives the windows it can.

Sequentially, a recording's next window begins where its last finished segment ended, so a wave holds one window of each
recording. In chunks, cut at quiet places, all windows are known from the start and fill the engine's batches as places
come free: faster for a single long recording, at the price of a cut that may fall into a sentence.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ..audio import Sound
from ..decoding import Decoded, Options, Round, checked_options, encode
from ..errors import InputError
from ..text import text_of
from .alignment import alignment_heads, token_ends, words
from .features import InPieces, Whole, file_spectrogram, spectrogram
from .recording import Recording, Transcription, Window, Word, without_end
from .segments import STEP
from .speech import refuse_missing_detector, speech
from .timestamps import writes_timestamps

if TYPE_CHECKING:
    from ..pair import Pair

logger = logging.getLogger(__name__)

FRAMES_PER_SECOND = 100
WAVE = 256  # windows of a chunked recording that are decoded before their results are kept: about two hours

# a file, the content of one, samples [n] at 16 kHz, or a log-mel spectrogram [mel, frames]
Audio = str | Path | bytes | np.ndarray | Tensor
Progress = Callable[[int, float, float], None]  # index, seconds transcribed, seconds in all
OnFailure = Callable[[int, Exception], None]  # index, why it cannot be transcribed


def transcribe(
    pair: "Pair",
    audio: Iterable[Audio],
    options: Options = Options(timestamps=True),  # noqa: B008 (frozen)
    chunked: bool = False,
    word_times: bool | None = False,
    as_trained: bool = False,
    speech_alone: bool = False,
    on_progress: Progress | None = None,
    on_failure: OnFailure | None = None,
    track: int = 1,
    margin: float | None = None,
) -> Iterator[tuple[int, Transcription]]:
    """(index, transcription) of each recording, as it ends. `options.language` None: detected in its first window.

    `options.timestamps` off, which `chunked` alone allows: a window is one segment; for mains that have forgotten them.
    `as_trained`: that is chosen here, for a main that writes no timestamps, whatever `options` and `chunked` say.
    `word_times` None: only where there are no timestamps. `speech_alone`: a voice activity detector (silero-vad)
    looks first, and what is no speech is left out.
    `audio` holds files, arrays at 16 kHz [samples] and log-mel tensors [mel, frames]; at most
    `options.batch_size` are open at once.
    `on_failure` is called for audio that cannot be read; without it the error is raised. `track` chooses one of a
    file's audio tracks, counted from 1. `margin`: seconds that a window goes on after its speech, for mains that were
    trained so (`Pair.margin`); None: windows are full ones.
    """
    if speech_alone:
        refuse_missing_detector()
    if as_trained and pair.writes_timestamps is False:
        options, chunked = replace(options, timestamps=False), True
    options = checked_options(options, pair.engine.special)
    if word_times:
        alignment_heads(pair.main)
    if not options.timestamps and not chunked:
        raise InputError("timestamps are off, but the sequential algorithm needs them: turn them on, or choose chunks.")
    opened = _opened(pair, audio, options, on_failure, track, speech_alone, margin)
    active: list[Recording] = []
    try:
        active += islice(opened, options.batch_size)
        if as_trained and options.timestamps and not _knows_timestamps(pair, active, options):
            options, chunked = replace(options, timestamps=False), True
        if word_times is None:
            word_times = not options.timestamps
        if not chunked:  # which takes one window of each recording at a time
            options = replace(options, batch_size=max(1, min(options.batch_size, len(active))))
        while active:
            for recording in active:
                recording.chunks = chunked
            _wave(pair, active, options, word_times, on_progress)
            for recording in active:
                if recording.failure is not None or recording.done:
                    recording.features.close()
                if recording.failure is not None:
                    _failed(recording.index, recording.failure, on_failure)
                elif recording.done:
                    yield recording.index, recording.transcription()
            active = [recording for recording in active if recording.failure is None and not recording.done]
            active += islice(opened, options.batch_size - len(active))
    finally:  # of an error, or of a caller that wants no more
        for recording in active:
            recording.features.close()


def knows_timestamps(pair: "Pair", audio: Iterable[Audio], options: Options) -> bool:
    """Whether a main is to be asked for timestamps: by its record, or otherwise by the first windows of some audio."""
    if pair.writes_timestamps is not None:
        return pair.writes_timestamps
    return _knows_timestamps(pair, _one_at_a_time(_opened(pair, audio, options, None, 1, speech_alone=False)), options)


def _one_at_a_time(recordings: Iterator[Recording]) -> Iterator[Recording]:
    """Each, closed before the next is opened."""
    for recording in recordings:
        try:
            yield recording
        finally:
            recording.features.close()


def _knows_timestamps(pair: "Pair", recordings: Iterable[Recording], options: Options) -> bool:
    """By the first recording with speech, where nobody knows; what it tells is kept for the pair's next recordings."""
    for recording in recordings:
        if pair.writes_timestamps is not None:
            break
        pair.writes_timestamps = writes_timestamps(pair, recording, options)
        if pair.writes_timestamps is False:
            logger.info(
                "the main writes other text with timestamps than without, as one that was fine-tuned without them "
                "does; it is decoded without, in chunks"
            )
    return pair.writes_timestamps is not False


def _failed(index: int, error: Exception, on_failure: OnFailure | None) -> None:
    if on_failure is None:
        raise error
    on_failure(index, error)


def _opened(
    pair: "Pair",
    audio: Iterable[Audio],
    options: Options,
    on_failure: OnFailure | None,
    track: int,
    speech_alone: bool,
    margin: float | None = None,
) -> Iterator[Recording]:
    engine = pair.engine
    _, size = engine.encoders.shapes["features"]
    for index, clip in enumerate(audio):
        try:
            stretches = _speech(pair, clip, index, track) if speech_alone else None
            features, sound = _features(pair, clip, index, track)
        except Exception as error:  # an error of one file must not end the others
            _failed(index, error, on_failure)
            continue
        yield Recording(
            index=index,
            features=features,
            seconds=features.frames / FRAMES_PER_SECOND,
            size=size,
            stride=engine.encoders.stride,
            timestamps=engine.special.timestamps,
            language=options.language,
            sound=sound,
            speech=stretches,
            margin=margin,
        )


def _features(pair: "Pair", clip: Audio, index: int, track: int) -> tuple[Whole | InPieces, Sound | None]:
    if isinstance(clip, Tensor) and clip.ndim == 2:
        return Whole(clip, clip.shape[1]), None
    if isinstance(clip, str | Path | bytes):
        sound, features = Sound(clip, track=track), None
        try:
            features = file_spectrogram(pair.log_mel, sound, pair.main.device)
        finally:
            if not isinstance(features, InPieces):  # which reads on
                sound.close()
        return features, sound
    return Whole(*spectrogram(pair.log_mel, pair.samples(clip, index), pair.main.device)), None


def _speech(pair: "Pair", clip: Audio, index: int, track: int) -> list[tuple[int, int]]:
    if isinstance(clip, Tensor) and clip.ndim == 2:
        raise InputError(f"audio {index}: is a spectrogram, in which no voice activity can be detected; give samples.")
    if isinstance(clip, str | Path | bytes):
        with Sound(clip, track=track) as sound:
            return speech(sound.blocks(), pair.log_mel.hop)
    return speech([pair.samples(clip, index)], pair.log_mel.hop)


def _wave(pair, active: list[Recording], options: Options, word_times: bool, on_progress: Progress | None) -> None:
    """One wave. Recordings whose language is known and those where it must be detected go apart."""
    by_language: dict[str | None, list[Recording]] = defaultdict(list)
    for recording in active:
        if not recording.done:  # as one without speech is from the start
            by_language[recording.language].append(recording)
    for language, recordings in by_language.items():
        known = language is not None or not pair.engine.special.languages
        windows: list[Window] = []  # as they are drawn
        results = pair.engine.decode(
            _drawn(recordings, known, windows),
            replace(options, language=language),
            on_round=_reporter(windows, pair.engine.special.end, on_progress if recordings[0].chunks else None),
        )
        for window, decoded in zip(windows, results, strict=True):
            with _its_own(window.recording):
                _keep(pair, window, decoded, word_times)
        if on_progress is not None:
            for recording in recordings:
                share = min(recording.seek / recording.frames, 1)
                on_progress(recording.index, share * recording.seconds, recording.seconds)


def _drawn(recordings: list[Recording], known: bool, windows: list[Window]) -> Iterator[Tensor]:
    """Features of window after window; the windows themselves go to `windows`."""
    for recording in recordings:
        with _its_own(recording):
            for window in islice(recording.windows(known), WAVE):
                features = window.features()
                windows.append(window)
                yield features


@contextmanager
def _its_own(recording: Recording) -> Iterator[None]:
    """Whatever goes wrong with one recording ends that one alone."""
    try:
        yield
    except Exception as error:
        recording.failure = error


def _reporter(windows: list[Window], end: int, on_progress: Progress | None) -> Callable[[int, Round], None] | None:
    """In a wave of many windows, progress is reported as they end."""
    if on_progress is None:
        return None
    finished: dict[Recording, int] = defaultdict(int)  # frames

    def on_round(index: int, step: Round) -> None:
        window = windows[index]
        if end in step.tokens:
            recording = window.recording
            finished[recording] += window.frames
            share = min((recording.seek + finished[recording]) / recording.frames, 1)
            on_progress(recording.index, share * recording.seconds, recording.seconds)

    return on_round


def _keep(pair, window: Window, decoded: Decoded, word_times: bool) -> None:
    special, recording = pair.engine.special, window.recording
    spans = recording.take(window, decoded, special.end)
    tokens = without_end(decoded.tokens, special.end)
    timed: list[list[Word]] = [[] for _ in spans]
    if word_times and spans:
        offset = window.first * STEP / recording.stride
        features = window.features()
        states = encode(pair.engine.encoders.main, [features])
        (ends,) = token_ends(
            pair.main, states, [decoded.prompt], [decoded.tokens], [-(-window.frames // recording.stride)]
        )
        ends = [0.0, *ends]
        timed = [
            words(pair.processor.tokenizer, tokens[span.first : span.last], ends[span.first : span.last + 1],
                  offset, special, recording.language)
            for span in spans
        ]  # fmt: skip

    def text(own: list[int]) -> str:
        return text_of(pair.processor.tokenizer, special.text(own))

    recording.add(window, spans, tokens, text, timed)
