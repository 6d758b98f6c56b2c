"""Sound files with bytes flipped, cut out and put in, each read in the process that runs this.

    python -m tests.damage FIRST COUNT

reads so many damaged files, one line of JSON each: first what is being read, so that a crash or a hang names its case.
"""

import contextlib
import json
import sys
import time

import numpy as np

from tests.sounds import CODINGS, encode, melody
from whisper_pair.audio.sound import SAMPLE_RATE, Sound
from whisper_pair.errors import InputError

ENDINGS = ("wav", "flac", "mp3", "m4a", "aac", "mka", "webm", "opus", "ts", "aiff", "avi")
SECONDS = 2.0
MOST = 200  # bytes that one wound cuts out or puts in


def damaged(data: bytes, seed: int) -> bytes:
    """One to five wounds, one in three of them in the header."""
    chance = np.random.default_rng(seed)
    content = bytearray(data)
    for _ in range(chance.integers(1, 6)):
        place = int(chance.integers(0, min(400, len(content)) if chance.random() < 1 / 3 else len(content)))
        length = int(chance.integers(1, MOST))
        match chance.integers(0, 3):
            case 0:
                for at in chance.integers(0, length, 4):
                    if place + at < len(content):
                        content[place + at] ^= 1 << int(chance.integers(0, 8))
            case 1:
                del content[place : place + length]
            case _:
                content[place:place] = chance.integers(0, 256, length, np.uint8).tobytes()
    return bytes(content)


def listen(data: bytes) -> tuple[float, str | None]:
    """(seconds that were read, why no more)"""
    samples = 0
    try:
        with Sound(data, "it") as sound:
            for block in sound.blocks():
                samples += len(block)
    except InputError as error:
        return samples / SAMPLE_RATE, str(error)
    return samples / SAMPLE_RATE, None


def main(first: int, count: int) -> None:
    whole = {ending: encode(melody(SECONDS, CODINGS[ending][2]), ending) for ending in ENDINGS}
    for seed in range(first, first + count):
        ending = ENDINGS[seed % len(ENDINGS)]
        print(json.dumps({"case": seed, "ending": ending}), flush=True)
        began = time.perf_counter()
        seconds, refusal = listen(damaged(whole[ending], seed))
        spent = time.perf_counter() - began
        print(json.dumps({"case": seed, "seconds": seconds, "refusal": refusal, "spent": spent}), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(int(sys.argv[1]), int(sys.argv[2]))
