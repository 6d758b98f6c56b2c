"""Files with any damage: decoded, or refused in a sentence; never a traceback, a hang, or more sound than was there.

Each runs in another process, so that a crash in a decoder is seen. `WHISPER_PAIR_DAMAGED=2000` reads so many of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.damage import ENDINGS, MOST, SECONDS, damaged, listen
from tests.sounds import encode, melody

CASES = int(os.environ.get("WHISPER_PAIR_DAMAGED", 330))
PROCESSES = 3  # of which each reads a third
HANGS = 120  # seconds without a word
MORE = 0.35  # seconds that an encoder's padding and bytes that were put in may add: five wounds of 200 bytes are little


@pytest.mark.parametrize("share", range(PROCESSES))
def test_a_damaged_file_is_decoded_or_refused_in_a_sentence(share):
    count = -(-CASES // PROCESSES)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    command = [sys.executable, "-m", "tests.damage", str(share * count), str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANGS + count)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    results = [line for line in lines if "seconds" in line]
    assert len(results) == count
    for result in results:
        assert result["seconds"] <= SECONDS + MORE, result
        assert result["spent"] < 20, result
        assert result["refusal"] is None or (result["refusal"].startswith("it: ") and "\n" not in result["refusal"])
    decoded = [result for result in results if result["refusal"] is None]
    assert len(decoded) > count / 2  # most damage costs little


def test_the_damage_is_some():
    data = encode(melody(SECONDS), "flac")
    assert all(damaged(data, seed) != data for seed in range(50))
    assert any(abs(len(damaged(data, seed)) - len(data)) > MOST / 4 for seed in range(50))
    assert len(ENDINGS) >= 9
    assert listen(data) == (SECONDS, None)
