"""Does the test set hold what was trained on? A clip in both makes every figure worthless.

Training refuses such a test set itself; this is for pairs that others trained, and sets that changed since. Clips are
compared by their samples. Read speech also repeats sentences in other voices: how many test texts are in the training
set is reported, and is no leak of sound.
"""

from collections.abc import Sequence

from whisper_pair.config import Data
from whisper_pair.data import Clip, audited
from whisper_pair.report import Leaks


def leak_section(test: Sequence[Clip], data: Data, window_seconds: float) -> Leaks:
    """`clips`: test clips whose sound is in the training data. Sources on the Hub are named and not compared: that
    would fetch and decode a whole corpus."""
    sources = (*data.train, *data.validation)
    local = [source for source in sources if not source.hub]
    longest = None if data.long_audio == "split" else window_seconds  # as training read them
    rows = [(row, found) for row, found, _ in audited(local, data, longest) if found.problem is None and found.sha256]
    digests, texts = {found.sha256 for _, found in rows}, {row.text for row, _ in rows if row.text}
    names = {clip.name for clip in test}
    test_digests = (
        [(row.name, found.sha256) for row, found, _ in audited(data.test, data, window_seconds)] if digests else []
    )
    return {
        "compared": [source.name for source in local],
        "not_compared": [source.name for source in sources if source.hub],
        "clips": sorted(name for name, digest in test_digests if name in names and digest in digests),
        "texts": sum(clip.text in texts for clip in test),
    }
