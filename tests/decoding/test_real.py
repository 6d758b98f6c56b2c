"""Real weights and real speech: no token differs from transformers' greedy generate, and the counters hold."""

import csv
import os
from pathlib import Path

import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from tests.decoding.models import cut
from whisper_pair.decoding.acceptance import accepted_per_tree, tree_acceptance
from whisper_pair.decoding.encoders import encode
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.rank_shares import TREES
from whisper_pair.decoding.tree import DraftTree

pytestmark = pytest.mark.real
ROOT = Path(os.environ.get("WHISPER_PAIR_REALDATA", ""))
if not (ROOT / "dutch" / "test" / "metadata.csv").is_file():
    pytest.skip(
        "set WHISPER_PAIR_REALDATA to a folder with whisper-base, whisper-tiny and dutch", allow_module_level=True
    )

TREE = TREES[-1]  # 16 drafts, three deep
LIMIT = 96  # tokens: on clips of a few seconds only a loop is longer, and it would fill the test with repetition


@pytest.fixture(scope="module")
def models():
    return {
        name: WhisperForConditionalGeneration.from_pretrained(ROOT / f"whisper-{name}").eval()
        for name in ("base", "tiny")
    }


@pytest.fixture(scope="module")
def states(models):
    """Each model's encoder states of the test clips [n, frames, d]."""
    import soundfile
    import soxr

    folder = ROOT / "dutch" / "test"
    extractor = WhisperFeatureExtractor.from_pretrained(ROOT / "whisper-base")
    encoded = {"base": [], "tiny": []}
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        names = [row["file_name"] for row in csv.DictReader(file)]
    with torch.inference_mode():
        for name in names:
            audio, rate = soundfile.read(folder / name, dtype="float32", always_2d=True)
            audio = soxr.resample(audio.mean(1), rate, 16000)
            window = extractor(audio, sampling_rate=16000, return_tensors="pt").input_features[0]
            for model, kept in encoded.items():
                kept.append(encode(models[model].model.encoder, [window])[0])
    return {name: torch.stack(kept) for name, kept in encoded.items()}


def greedy(model, states, timestamps):
    """transformers' own, 8 windows at a time."""
    end, rows = model.generation_config.eos_token_id, []
    for batch in states.split(8):
        sequences = model.generate(
            encoder_outputs=BaseModelOutput(batch.clone()),
            language="nl",
            task="transcribe",
            return_timestamps=timestamps,
            max_new_tokens=LIMIT,
            return_dict_in_generate=True,
            force_unique_generate_call=True,
        ).sequences.tolist()
        for sequence in sequences:
            decoded = sequence[3 if timestamps else 4 :]
            rows.append(decoded[: decoded.index(end) + 1] if end in decoded else decoded)
    return rows


@pytest.fixture(scope="module", params=[False, True], ids=["text", "timestamps"])
def reference(request, models, states):
    """Whether timestamps are decoded, and what transformers then says of every clip."""
    return request.param, greedy(models["base"], states["base"], request.param)


@pytest.fixture(scope="module", params=["tiny", "first two layers", "nothing"])
def engine(request, models):
    drafts = {"tiny": models["tiny"], "first two layers": cut(models["base"], 2, noise=0.0), "nothing": None}
    return Engine(models["base"], drafts[request.param])


@pytest.mark.parametrize("batch_size", [8, 1])
@pytest.mark.parametrize("drafts", [DraftTree.chain(5), TREE], ids=["chain", "tree"])
def test_no_token_differs_on_any_clip_and_the_counters_hold(states, reference, engine, drafts, batch_size):
    timestamps, expected = reference
    assert len(expected) > 200
    options = Options(
        language="nl", timestamps=timestamps, batch_size=batch_size, draft_tokens=drafts, max_new_tokens=LIMIT
    )
    draft_states = states["tiny" if engine.encoders.draft is not None else "base"]
    rows = engine.decode(
        encoder_states=states["base"],
        draft_states=draft_states if engine.encoders.draft is not None else None,
        options=options,
    )
    assert [index for index, row in enumerate(rows) if row.tokens != expected[index]] == []
    if engine.draft is None:
        return
    found = engine.ranks(draft_states, expected, options)
    for row, ranks in zip(rows, found, strict=True):
        online = list(zip(row.drafted_per_round, row.accepted_per_round, strict=True))
        assert online == accepted_per_tree(ranks, drafts)
    assert sum(row.accepted for row in rows) > 0
    if (
        drafts is TREE and engine.encoders.draft is not None
    ):  # whisper-tiny; two layers that were not trained agree on little
        chain = tree_acceptance(found, DraftTree.chain(TREE.depth)).mean_accepted_length
        assert tree_acceptance(found, TREE).mean_accepted_length > 1.2 * chain
