"""Does the test set hold what was trained on? A clip that both sides hold makes every figure worthless.

Training refuses such a test set itself; here are the pairs that others trained, and sets that changed since. Clips are
compared by their samples. Read speech also repeats sentences in other voices: how many test texts stand in the training
set is told, and is no leak of sound.
"""

from collections.abc import Sequence
from typing import Any

from whisper_pair.config import Data
from whisper_pair.data import Clip, audited


def leak_section(test: Sequence[Clip], data: Data, window_seconds: float) -> dict[str, Any]:
    """`clips`: test clips whose sound is trained on. Sources on the Hub are named and not compared: that would fetch
    and decode a whole corpus."""
    sources = (*data.train, *data.validation)
    local = [source for source in sources if not source.hub]
    longest = None if data.long_audio == "split" else window_seconds  # as training listened
    rows = [(row, found) for row, found, _ in audited(local, data, longest) if found.problem is None and found.sha256]
    digests, texts = {found.sha256 for _, found in rows}, {row.text for row, _ in rows if row.text}
    names = {clip.name for clip in test}
    heard = [(row.name, found.sha256) for row, found, _ in audited(data.test, data, window_seconds)] if digests else []
    return {
        "compared": [source.name for source in local],
        "not_compared": [source.name for source in sources if source.hub],
        "clips": sorted(name for name, digest in heard if name in names and digest in digests),
        "texts": sum(clip.text in texts for clip in test),
    }
