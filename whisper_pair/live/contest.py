"""The main alone and the pair hear the same sound, one after the other, each on its own clock.

Never at once: on the same cores both clocks would lie. Both are asked of one engine over one spectrogram, warmed up
before either clock starts, and each runs the encoder on its own clock. All this happens in a thread of its own; whoever
watches reads the rounds that have been decided so far.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from ..audio import SAMPLE_RATE
from ..decoding import Options, Round, encode
from ..errors import InputError
from ..longform import cut, quiet_cuts, silence, spectrogram

LOOKS = 0.1  # seconds between two looks at a contest that goes on; to draw costs both sides alike
WARM_UP_TOKENS = 16
QUIET = 1e-4  # of full scale (-80 dB): no sample of a recording with anything in it stays below


class Stopped(Exception):  # noqa: N818 (asked for, no error)
    """The contest was called off."""


class Clock:
    """Seconds spent inside `with clock`; may be read by another thread while it runs."""

    def __init__(self):
        self._state: tuple[float, float | None] = 0.0, None  # (seconds before, running since), replaced as one

    def __enter__(self) -> None:
        self._state = self.seconds, time.perf_counter()

    def __exit__(self, *_) -> None:
        self._state = self.seconds, None

    @property
    def seconds(self) -> float:
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
        return self.encoder.seconds + self.decoder.seconds

    @property
    def began(self) -> bool:
        return self.seconds > 0

    @property
    def tokens(self) -> list[int]:
        return [token for step in list(self.rounds) for token in step.tokens]

    @property
    def drafted(self) -> int:
        return sum(len(step.drafted) for step in list(self.rounds))

    @property
    def accepted(self) -> int:
        return sum(step.accepted for step in list(self.rounds))


class Contest:
    """One recording, heard twice. `samples` [n] at 16 kHz; of `options` the language, the task and the draft length.

    Raises InputError for silence, and for what the engine refuses.
    """

    def __init__(self, pair, samples: np.ndarray, options: Options, name: str = "the recording"):
        peak = float(np.abs(samples).max(initial=0.0))
        if peak < QUIET:
            raise InputError(f"{name}: holds nothing but silence; check the microphone, or choose another file.")
        self.engine = pair.engine
        self.options = replace(options, batch_size=1)
        self.half = pair.main.dtype != torch.float32
        self.seconds = len(samples) / SAMPLE_RATE  # of audio
        self.windows = windows(pair, samples)
        self.language = options.language  # None: until it is detected
        self.main, self.pair = Side(drafting=False), Side(drafting=True)
        self._called_off = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def watch(self) -> Iterator["Contest"]:
        """Starts it, and yields it again and again until it is over. Not to be looked at any more means to stop it."""
        self._thread.start()
        try:
            while self._thread.is_alive():
                yield self
                self._thread.join(LOOKS)
            if self._failure is not None:
                raise self._failure
            yield self
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends with the round that is under way."""
        self._called_off.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def done(self) -> bool:
        return self.main.done and self.pair.done

    @property
    def stopped(self) -> bool:
        return self._called_off.is_set() and not self.done

    @property
    def parting(self) -> int | None:
        """The first place where the token ids of the two differ; None: nowhere."""
        both = zip_longest(self.main.tokens, self.pair.tokens)
        return next((place for place, (one, other) in enumerate(both) if one != other), None)

    def _run(self) -> None:
        try:
            self._warm_up()
            for side in (self.main, self.pair):
                self._hear(side)
        except Stopped:
            pass
        except Exception as error:
            self._failure = error

    def _warm_up(self) -> None:
        """Both sides' first tokens, off the clock; where the draft length is chosen by cost, the cost is measured."""
        self.engine.measure_rounds(self._options(self.pair, self.language))
        for side in (self.main, self.pair):
            asked = replace(self._options(side, self.language), max_new_tokens=WARM_UP_TOKENS)
            self.engine.decode(options=asked, on_round=self._check, **self._states(self.windows[0], side))

    def _hear(self, side: Side) -> None:
        language = self.options.language

        def on_round(_, step: Round) -> None:
            self._check()
            side.rounds.append(step)

        for window in self.windows:
            with side.encoder:
                states = self._states(window, side)
            with side.decoder:
                (decoded,) = self.engine.decode(options=self._options(side, language), on_round=on_round, **states)
            language = self.language = decoded.language
        side.done = True

    def _options(self, side: Side, language: str | None) -> Options:
        drafts = self.options.draft_tokens if side.drafting else 0
        return replace(self.options, language=language, draft_tokens=drafts)

    @torch.inference_mode()
    def _states(self, window: Tensor, side: Side) -> dict[str, Tensor]:
        """What the engine decodes from: the encoder's states, and the draft's own where it has its own encoder."""
        encoders = self.engine.encoders
        states = {"encoder_states": encode(encoders.main, [window])}
        if side.drafting and encoders.draft is not None:
            states["draft_states"] = encode(encoders.draft, [window])
        if self.engine.device.type == "cuda":
            torch.cuda.synchronize(self.engine.device)
        return states

    def _check(self, *_) -> None:
        if self._called_off.is_set():
            raise Stopped


def windows(pair, samples: np.ndarray) -> list[Tensor]:
    """Spectrograms [mel, frames of a window]: one where the sound fits, else cut at quiet places as in longform."""
    features, frames = spectrogram(pair.log_mel, samples, pair.main.device)
    size = pair.log_mel.frames
    if frames <= size:
        return [features]
    fill = silence(features)
    return [cut(features, first, count, size, fill) for first, count in quiet_cuts(features, frames, size)]
