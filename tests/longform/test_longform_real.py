"""Real weights and real speech: long recordings and word times as transformers has them."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from whisper_pair import Pair
from whisper_pair.audio.reading import read_audio

pytestmark = pytest.mark.real
ROOT = Path(os.environ.get("WHISPER_PAIR_REALDATA", ""))
if not (ROOT / "dutch" / "test" / "metadata.csv").is_file():
    pytest.skip("set WHISPER_PAIR_REALDATA to a folder with whisper-base, whisper-tiny and dutch",
                allow_module_level=True)  # fmt: skip


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """75 s and more of Dutch sentences, a third of a second apart."""
    parts, folder = [], ROOT / "dutch" / "test"
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            parts += [read_audio(folder / row["file_name"]), np.zeros(5000, np.float32)]
            if sum(map(len, parts)) > 75 * 16_000:
                return np.concatenate(parts)
    raise AssertionError("too little speech")


def test_segments_and_token_times_equal_transformers(speech):
    pair = Pair.from_pretrained(ROOT / "whisper-tiny", None)
    inputs = pair.processor.feature_extractor(
        speech, sampling_rate=16_000, truncation=False, padding="longest", return_attention_mask=True,
        return_tensors="pt",
    )  # fmt: skip
    out = pair.main.generate(
        **inputs, language="nl", task="transcribe", return_timestamps=True, condition_on_prev_tokens=False,
        return_segments=True, return_token_timestamps=True,
    )  # fmt: skip
    theirs = out["segments"][0]
    assisted = Pair(pair.main, pair.main, pair.processor)
    differ = []
    for ours in (pair, assisted):
        (transcribed,) = ours.transcribe_long([speech], language="nl", draft_tokens=4, word_times=True)
        assert [segment.tokens for segment in transcribed.segments] == [
            segment["tokens"].tolist() for segment in theirs
        ]
        assert len(transcribed.segments) > 10
        for segment, other in zip(transcribed.segments, theirs, strict=True):
            assert segment.start == pytest.approx(float(other["start"]), abs=1e-3)
            assert segment.end == pytest.approx(float(other["end"]), abs=1e-3)
            ends = torch.as_tensor(other["token_timestamps"])
            differ += [float((ends - word.end).abs().min()) > 0.011 for word in segment.words]
    assert sum(differ) < 0.01 * len(differ)  # their attention rounds otherwise, and a path may flip at a tie
