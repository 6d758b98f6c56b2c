"""Speaks a plan of clips with espeak-ng, the same bytes every time.

espeak-ng keeps state from one utterance to the next (its oscillators run on), so a clip's samples depend on what was
spoken before it. Clips are therefore spoken in blocks, each in order and by a process of its own.
"""

import csv
import ctypes
import io
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from ..errors import InputError
from ..runs import write_text
from .grammar import distinct_sentences

SAMPLE_RATE = 16000  # Hz, Whisper's
BLOCK = 250  # clips that one process speaks: about two seconds of work
SPEAKERS = ["f2", "f4", "m1", "m3"]  # voice variants of espeak-ng, two female and two male
CHARACTERS_PER_SECOND = 0.1  # of Dutch text, for each word a minute of espeak-ng's rate
LEAD_IN = 0.3  # seconds, the longest silence before the first word


@dataclass(frozen=True)
class Clip:
    """One utterance, and everything that decides its samples but its place in its block."""

    file_name: str
    text: str
    speaker: str  # a voice variant of espeak-ng
    rate: int  # words a minute
    pitch: int  # 0 to 99, espeak-ng's scale
    pitch_range: int  # 0 to 99: from monotone to lively
    lead_in: float  # seconds of silence before the first word
    level: float  # dB relative to full scale, root mean square
    snr: float  # dB, speech over noise
    noise_color: float  # the noise's power falls as 1/f**color: 0 is white, 1 pink, 2 brown
    noise_seed: int


def plan(splits: dict[str, int], seed: int, window: int) -> dict[str, list[Clip]]:
    """The clips of every split, no sentence used twice, each short enough for a window of `window` seconds."""
    rng = Random(seed)
    texts = iter(distinct_sentences(rng, sum(splits.values())))
    return {
        split: [_clip(rng, f"{index:05d}.wav", next(texts), window) for index in range(count)]
        for split, count in splits.items()
    }


def _clip(rng: Random, file_name: str, text: str, window: int) -> Clip:
    slowest = len(text) / CHARACTERS_PER_SECOND / (0.9 * window - LEAD_IN)  # 0.9: some texts take longer than others
    return Clip(
        file_name=file_name,
        text=text,
        speaker=rng.choice(SPEAKERS),
        rate=max(rng.randint(180, 250), round(slowest)),
        pitch=rng.randint(30, 70),
        pitch_range=rng.randint(30, 70),
        lead_in=round(rng.uniform(0, LEAD_IN), 3),
        level=round(rng.uniform(-30, -18), 2),
        snr=round(rng.uniform(10, 30), 2),
        noise_color=round(rng.uniform(0, 2), 3),
        noise_seed=rng.getrandbits(32),
    )


class Espeak:
    """espeak-ng as a function from a clip's text and voice to samples."""

    SYNCHRONOUS, UTF8, RATE, PITCH, RANGE = 2, 1, 1, 3, 4  # from espeak-ng's speak_lib.h

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise InputError("Synthetic speech needs espeak-ng: pip install espeakng-loader") from error
        self.espeak = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        data_path = str(espeakng_loader.get_data_path()).encode()
        self.sample_rate = self.espeak.espeak_Initialize(self.SYNCHRONOUS, 0, data_path, 0)  # Hz
        if self.sample_rate <= 0:
            raise InputError(f"espeak-ng cannot read its data in {data_path.decode()}: reinstall espeakng-loader")
        self.espeak.espeak_ng_SetRandSeed(ctypes.c_long(0))  # breathy voices; from the clock otherwise
        self.pieces: list[np.ndarray] = []
        receive = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._receive = receive(self._keep)  # a reference held here, or Python frees what espeak-ng calls
        self.espeak.espeak_SetSynthCallback(self._receive)

    def _keep(self, samples, count: int, events) -> int:
        if samples and count:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # go on

    def speak(self, clip: Clip) -> np.ndarray:
        """The text in the clip's voice: float64 in [-1, 1) at `self.sample_rate`."""
        voice = f"nl+{clip.speaker}"
        if self.espeak.espeak_SetVoiceByName(voice.encode()) != 0:
            raise InputError(f"espeak-ng has no voice {voice}: reinstall espeakng-loader")
        for parameter, value in ((self.RATE, clip.rate), (self.PITCH, clip.pitch), (self.RANGE, clip.pitch_range)):
            self.espeak.espeak_SetParameter(parameter, value, 0)
        self.pieces.clear()
        text = clip.text.encode()
        self.espeak.espeak_Synth(text, len(text) + 1, 0, 1, 0, self.UTF8, None, None)
        return np.concatenate(self.pieces) / 32768


def noise(count: int, color: float, rng: np.random.Generator) -> np.ndarray:
    """`count` samples of unit power whose power spectrum falls as 1/f**color above 50 Hz."""
    length = 1 << (count - 1).bit_length()  # a power of two: numpy is ten times slower on a prime length
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    shaped = np.fft.irfft(spectrum * np.maximum(frequency, 50) ** (-color / 2), length)[:count]
    return shaped / np.sqrt(np.mean(shaped**2))


def audio(clip: Clip, espeak: Espeak) -> np.ndarray:
    """The finished clip: int16 at 16 kHz, noise included."""
    speech = soxr.resample(espeak.speak(clip), espeak.sample_rate, SAMPLE_RATE)
    speech = np.concatenate([np.zeros(round(clip.lead_in * SAMPLE_RATE)), speech])
    speech *= 10 ** (clip.level / 20) / np.sqrt(np.mean(speech**2))
    power = np.sqrt(np.mean(speech**2)) * 10 ** (-clip.snr / 20)
    noisy = speech + power * noise(len(speech), clip.noise_color, np.random.default_rng(clip.noise_seed))
    return np.clip(np.rint(noisy * 32767), -32768, 32767).astype(np.int16)


def speak_block(folder: Path, clips: list[Clip], window: int) -> int:
    """Writes the clips' files and returns their number. To be called once in the life of a process."""
    espeak = Espeak()
    for clip in clips:
        samples = audio(clip, espeak)
        if len(samples) > window * SAMPLE_RATE:
            raise InputError(f"{clip.file_name} lasts {len(samples) / SAMPLE_RATE:.2f} s, over the {window} s window")
        wave = io.BytesIO()  # libsndfile says nothing of a disk that is full
        soundfile.write(wave, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        (folder / clip.file_name).write_bytes(wave.getvalue())
    return len(clips)


def speak(out: Path, splits: dict[str, list[Clip]], window: int) -> None:
    """Writes OUT/SPLIT/*.wav and OUT/SPLIT/metadata.csv for every split, on all cores."""
    blocks = [
        (out / split, clips[start : start + BLOCK])
        for split, clips in splits.items()
        for start in range(0, len(clips), BLOCK)
    ]
    for split in splits:
        (out / split).mkdir(parents=True, exist_ok=True)
    with (
        ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes,
        tqdm(total=sum(map(len, splits.values())), desc="synthetic speech", unit="clip") as bar,
    ):
        for done in as_completed([processes.submit(speak_block, folder, clips, window) for folder, clips in blocks]):
            bar.update(done.result())
    for split, clips in splits.items():
        write_metadata(out / split / "metadata.csv", clips)


def write_metadata(path: Path, clips: list[Clip]) -> None:
    """Writes a split's metadata.csv."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file_name", "text", "speaker"])
    writer.writerows([clip.file_name, clip.text, f"synthetic-nl-{clip.speaker}"] for clip in clips)
    write_text(path, table.getvalue())
