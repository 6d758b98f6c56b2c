"""The peers benchmark: every engine gets the same work, and the table says who wrote what our main writes."""

import numpy as np
import pytest
import torch

from benchmarks.cpu_tables import table
from benchmarks.peer_worker import ours, prompt_of, text, transformers
from benchmarks.peers import Contender, Worker, measure, rows_of, spectrograms, targets_of
from whisper_pair import Pair


@pytest.fixture(scope="module")
def job(pair, demo_data, tmp_path_factory) -> dict:
    """A worker's job, with two clips."""
    main, assistant = map(str, pair)
    both, clips = Pair.from_pretrained(main, assistant, dtype=torch.float32), tmp_path_factory.mktemp("clips") / "c.npy"
    assert spectrograms(both, demo_data / "test", 2, clips) > 1
    prompt = prompt_of(both.engine.special, "nl") | {"language": "nl", "clips": str(clips), "threads": 1}
    return prompt | {"main": main, "assistant": assistant}


def test_ours_and_transformers_write_the_same_tokens_in_every_mode(job):
    alone = job | {"assistant": None, "draft_tokens": 0}
    ways = [ours(alone), ours(job | {"draft_tokens": 3}), transformers(alone)]
    for features in np.load(job["clips"]):
        found = [text(decode(features[None]), job["end"]) for decode in ways]
        assert found[0]
        assert found[1:] == found[:1] * 2


@pytest.mark.parametrize("clock", ["wall", "cpu"])
def test_a_worker_decodes_all_clips_on_each_request(job, clock):
    alone = job | {"engine": "ours", "assistant": None, "draft_tokens": 0}
    worker = Worker(Contender("Whisper Pair", "greedy", "float32", alone), job["clips"], threads=1, clock=clock)
    try:
        seconds, tokens = measure([worker], repeats=2)
        assert len(worker.ask({"clips": 1})["seconds"]) == 1
    finally:
        worker.close()
    assert len(seconds[0]) == 2
    assert all(passed > 0 for passed in seconds[0])
    assert len(tokens[0]) == 2


def test_the_table_counts_equal_texts_and_compares_by_medians():
    kinds = (("Whisper Pair", "float32"), ("transformers", "float32"), ("CTranslate2", "int8"))
    found = [Contender(name, "greedy", kind, {}) for name, kind in kinds]
    rows = rows_of(found, [[4.0, 2.0, 3.0], [6.0], [1.5]], [[[1], [2]], [[1], [2]], [[1], [3]]], audio=12.0)
    assert [row["speedup"] for row in rows] == [1.0, 0.5, 2.0]
    assert [row["identical"] for row in rows] == [2, 2, 1]
    assert rows[0]["rtfx"] == 4.0
    assert rows[0]["spread"] == [2.0, 4.0]
    reached = {name: target["reached"] for name, target in targets_of(rows).items()}
    assert reached == {"ours_over_the_fastest_in_float32": 2.0, "ours_over_the_fastest_in_int8": 0.5}


def test_the_documents_table_names_clock_passes_and_who_wrote_our_text():
    row = {"engine": "CTranslate2", "mode": "greedy", "type": "int8", "seconds": 2.0, "spread": [1.9, 2.2]}
    result = {"rows": [row | {"speedup": 1.5, "identical": 3}], "clips": 4, "audio_seconds": 12.0, "repeats": 2}
    result |= {"clock": "cpu", "machine": {"cpu": "a CPU", "threads": 1}, "versions": {"torch": "2"}}
    made = table("peers-cpu", result | {"command": "python benchmarks/peers.py", "date": "2026-11-26"})
    assert "| CTranslate2 | greedy | int8 | 2.0 (1.9-2.2) | 1.50x | 3 of 4 |" in made
    assert "by processor time" in made
    assert table("thresholds", result) is None
