"""The draft's smaller head: its list is the smallest, it travels with the assistant, and the text stays the main's."""

import json
import shutil
from itertools import combinations

import pytest
import torch

from whisper_pair import Pair
from whisper_pair.checkpoints.draft_vocabulary import DRAFT_VOCABULARY_FILE, DraftVocabulary
from whisper_pair.checkpoints.load import load_main
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.linear import unpacked
from whisper_pair.errors import InputError

LABELS = [[5, 5, 5, 9], [7, 5, 9], [2]]  # 5: 4 times, 9: twice, 2 and 7: once


@pytest.mark.parametrize("share", [0.1, 0.5, 0.6, 0.75, 0.8, 1.0])
def test_no_smaller_list_covers_the_share(share):
    found = DraftVocabulary.covering(LABELS, share)
    every = [token for label in LABELS for token in label]

    def covers(tokens) -> bool:
        return sum(token in tokens for token in every) >= share * len(every)

    assert covers(found.tokens)
    assert found.covered == sum(token in found.tokens for token in every) / len(every)
    assert list(found.tokens) == sorted(found.tokens)
    assert not any(covers(fewer) for fewer in combinations({2, 5, 7, 9}, len(found.tokens) - 1))


@pytest.fixture
def assistant(demo_data, tmp_path):
    """The micro Whisper as an assistant that may propose every second token."""
    folder = tmp_path / "assistant"
    shutil.copytree(demo_data / "micro-whisper", folder)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    DraftVocabulary(tuple(range(0, size, 2)), 0.9, 0.9).save(folder)
    return folder


def test_a_pair_drafts_from_the_list_beside_its_assistant_and_writes_the_same(demo_data, assistant):
    pair = Pair.from_pretrained(demo_data / "micro-whisper", assistant)
    assert pair.engine.draft_vocabulary.tolist() == list(DraftVocabulary.load(assistant).tokens)
    clips = sorted((demo_data / "test").glob("*.wav"))[:3]
    found = pair.transcribe(clips, language="nl", draft_tokens=4, max_new_tokens=12)
    (assistant / DRAFT_VOCABULARY_FILE).unlink()
    whole = Pair.from_pretrained(demo_data / "micro-whisper", assistant)
    wanted = whole.transcribe(clips, language="nl", draft_tokens=4, max_new_tokens=12)
    assert [one.tokens for one in found] == [other.tokens for other in wanted]
    assert sum(one.accepted for one in found) < sum(other.accepted for other in wanted)  # odd tokens it cannot propose


def test_equal_embeddings_are_held_once(demo_data, assistant):
    pair = Pair.from_pretrained(demo_data / "micro-whisper", assistant)
    main, draft = pair.main.model.decoder, pair.draft.model.decoder
    for name in ("embed_tokens", "embed_positions"):
        assert getattr(draft, name).weight.data_ptr() == getattr(main, name).weight.data_ptr()
    assert pair.draft.proj_out.weight.data_ptr() == pair.main.proj_out.weight.data_ptr()
    assert pair.engine.draft.head is pair.engine.main.head


def test_other_embeddings_stay_the_drafts_own(demo_data):
    main, draft = (load_main(demo_data / "micro-whisper", torch.float32) for _ in range(2))
    with torch.no_grad():
        draft.model.decoder.embed_tokens.weight[3] += 1
    engine = Engine(main, draft)
    assert unpacked(engine.draft.head).data_ptr() == draft.proj_out.weight.data_ptr()
    assert engine.draft.head is not engine.main.head


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"tokens": []}', '{"tokens": [1, 999999], "share": 1, "covered": 1}', '{"tokens": 3}',
             '{"tokens": ["1"], "share": 1, "covered": 1}', '{"tokens": [], "share": 1, "covered": 1}'],
)  # fmt: skip
def test_a_list_that_is_none_is_refused_by_its_file(assistant, demo_data, text):
    (assistant / DRAFT_VOCABULARY_FILE).write_text(text)
    with pytest.raises(InputError, match=DRAFT_VOCABULARY_FILE):
        Pair.from_pretrained(demo_data / "micro-whisper", assistant)
