"""The main alone and the pair transcribe the same recording, one after the other, each on its own clock.

Never at once: on the same cores both clocks would be wrong. Both run in one engine over one spectrogram, warmed up
before either clock starts, and each runs the encoder on its own clock. All this happens in a thread of its own; the
page reads the rounds that have been decided so far.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from ..audio import SAMPLE_RATE
from ..decoding import Decoded, Options, Round, encode, with_margin
from ..errors import InputError
from ..longform import cut, quiet_cuts, silence, spectrogram
from ..pair import Pair, ShortWindowsOption
from ..runs import synchronize

REFRESH = 0.1  # seconds between two looks at a running contest; drawing it costs both sides alike
WARM_UP_TOKENS = 16
QUIET = 1e-4  # of full scale (-80 dB): the peak of any recording with speech in it is above


class Stopped(Exception):  # noqa: N818 (requested, no error)
    """The contest was stopped."""


class Clock:
    """Seconds spent inside `with clock`; may be read by another thread while it runs."""

    def __init__(self) -> None:
        self._state: tuple[float, float | None] = 0.0, None  # (seconds before, running since), replaced as one

    def __enter__(self) -> None:
        self._state = self.seconds, time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._state = self.seconds, None

    @property
    def seconds(self) -> float:
        """Until now."""
        spent, since = self._state
        return spent if since is None else spent + time.perf_counter() - since


@dataclass
class Side:
    """One contender: what it has decided so far, and its clocks."""

    drafting: bool
    encoder: Clock = field(default_factory=Clock)
    decoder: Clock = field(default_factory=Clock)
    rounds: list[Round] = field(default_factory=list)
    done: bool = False

    @property
    def seconds(self) -> float:
        """Of both clocks."""
        return self.encoder.seconds + self.decoder.seconds

    @property
    def began(self) -> bool:
        """Whether a clock has started."""
        return self.seconds > 0

    @property
    def tokens(self) -> list[int]:
        """Decided so far."""
        return [token for step in list(self.rounds) for token in step.tokens]

    @property
    def drafted(self) -> int:
        """Draft tokens of all rounds."""
        return sum(len(step.drafted) for step in list(self.rounds))

    @property
    def accepted(self) -> int:
        """Of them."""
        return sum(step.accepted for step in list(self.rounds))


@dataclass(frozen=True)
class States:
    """What the engine decodes a window from, each [1, frames, width]."""

    main: Tensor
    draft: Tensor | None  # of a draft with an encoder of its own


class Contest:
    """One recording, transcribed twice. `samples` [n] at 16 kHz; of `options` the language, the task and the draft
    length. `short_windows`: see `Pair.transcribe`.

    Raises InputError for silence, and for what the engine refuses.
    """

    def __init__(
        self,
        pair: Pair,
        samples: np.ndarray,
        options: Options,
        name: str = "the recording",
        short_windows: ShortWindowsOption = "auto",
    ):
        peak = float(np.abs(samples).max(initial=0.0))
        if peak < QUIET:
            raise InputError(f"{name}: holds nothing but silence; check the microphone, or choose another file.")
        self.engine = pair.engine
        self.options = replace(options, batch_size=1)
        self.half = pair.main.dtype != torch.float32
        self.seconds = len(samples) / SAMPLE_RATE  # of audio
        self.windows = windows(pair, samples, pair.margin(short_windows))
        self.language = options.language  # None: until it is detected
        self.main, self.pair = Side(drafting=False), Side(drafting=True)
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def watch(self) -> Iterator["Contest"]:
        """Starts it, and yields it again and again until it is over. A caller that stops
        iterating stops it."""
        self._thread.start()
        try:
            while self._thread.is_alive():
                yield self
                self._thread.join(REFRESH)
            if self._failure is not None:
                raise self._failure
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """Stops after the current round."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def done(self) -> bool:
        """Whether both sides are."""
        return self.main.done and self.pair.done

    @property
    def stopped(self) -> bool:
        """Whether it was stopped before its end."""
        return self._stopped.is_set() and not self.done

    @property
    def first_difference(self) -> int | None:
        """The first position where the token ids of the two differ; None: nowhere."""
        both = zip_longest(self.main.tokens, self.pair.tokens)
        return next((position for position, (one, other) in enumerate(both) if one != other), None)

    def _run(self) -> None:
        try:
            self._warm_up()
            for side in (self.main, self.pair):
                self._transcribe(side)
        except Stopped:
            pass
        except Exception as error:
            self._failure = error

    def _warm_up(self) -> None:
        """Both sides' first tokens in a window of each length, off the clock: graphs are recorded for each. Where the
        draft length is chosen by cost, the cost is measured."""
        of_length = {window.shape[1]: window for window in self.windows}
        drafting = self._options(self.pair, self.language)
        for length, window in sorted(of_length.items(), reverse=True):  # the longest first: no cache grows later
            self.engine.measure_rounds(drafting, length // self.engine.encoders.stride)
            for side in (self.main, self.pair):
                options = replace(self._options(side, self.language), max_new_tokens=WARM_UP_TOKENS)
                self._decode(self._states(window, side), options, self._check)

    def _transcribe(self, side: Side) -> None:
        language = self.options.language

        def on_round(_: int, step: Round) -> None:
            self._check()
            side.rounds.append(step)

        for window in self.windows:
            with side.encoder:
                states = self._states(window, side)
            with side.decoder:
                language = self._decode(states, self._options(side, language), on_round).language
            self.language = language
        side.done = True

    def _decode(self, states: States, options: Options, on_round: Callable[[int, Round], None]) -> Decoded:
        """One window."""
        (decoded,) = self.engine.decode(
            options=options, encoder_states=states.main, draft_states=states.draft, on_round=on_round
        )
        return decoded

    def _options(self, side: Side, language: str | None) -> Options:
        drafts = self.options.draft_tokens if side.drafting else 0
        return replace(self.options, language=language, draft_tokens=drafts)

    @torch.inference_mode()
    def _states(self, window: Tensor, side: Side) -> States:
        encoders = self.engine.encoders
        own = encode(encoders.draft, [window]) if side.drafting and encoders.draft is not None else None
        states = States(encode(encoders.main, [window]), own)
        synchronize(self.engine.device)
        return states

    def _check(self, *_: object) -> None:
        if self._stopped.is_set():
            raise Stopped


def windows(pair: Pair, samples: np.ndarray, margin: float | None = None) -> list[Tensor]:
    """Spectrograms [mel, frames of a window]: one where the recording fits, otherwise cut at quiet places as in
    longform. `margin`: see Pair.margin."""
    features, frames = spectrogram(pair.log_mel, samples, pair.main.device)
    size = pair.log_mel.frames
    if frames <= size:
        return [with_margin(features, frames, margin)]
    fill = silence(features)
    return [
        with_margin(cut(features, first, count, size, fill), count, margin)
        for first, count in quiet_cuts(features, frames, size)
    ]
