"""Does the test set hold what was trained on? A clip that both sides hold makes every figure worthless.

Clips are compared by their samples, but only those of equal length are read. Read speech also repeats sentences in
other voices: how many test texts stand in the training set is told, and is no leak of sound.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from whisper_pair.audio import SAMPLE_RATE, to_pcm
from whisper_pair.config import Data
from whisper_pair.data import Clip, load_training_clips


def leak_section(test: Sequence[Clip], data: Data, window_seconds: float) -> dict[str, Any]:
    """`clips`: test clips whose sound is trained on. Sources on the Hub are named and not compared: that would fetch
    and decode a whole corpus."""
    sources = (*data.train, *data.validation)
    local = [source for source in sources if not source.hub]
    trained = load_training_clips(local, data, window_seconds).clips if local else []
    texts = Counter(clip.text for clip in trained if clip.text)
    return {
        "compared": [source.name for source in local],
        "not_compared": [source.name for source in sources if source.hub],
        "clips": sorted(leaked_clips(test, trained)),
        "texts": sum(clip.text in texts for clip in test),
    }


def leaked_clips(test: Sequence[Clip], trained: Sequence[Clip]) -> list[str]:
    """Names of test clips whose samples are a training clip's."""
    by_length: dict[int, list[Clip]] = defaultdict(list)
    for clip in trained:
        by_length[round(clip.seconds * SAMPLE_RATE)].append(clip)
    digests: dict[str, str] = {}

    def digest(clip: Clip) -> str:
        key = f"{clip.name} {clip.start}"
        if key not in digests:
            digests[key] = hashlib.sha256(to_pcm(clip.read()).tobytes()).hexdigest()
        return digests[key]

    return [
        clip.name
        for clip in test
        if any(digest(clip) == digest(other) for other in by_length[round(clip.seconds * SAMPLE_RATE)])
    ]
