"""Words added beyond the timestamps are text, and padding is never decoded: as transformers has it, or, where it takes
all that lies beyond <|notimestamps|> for times, as it has it once the words stand among the text."""

import copy

import pytest
import torch

from tests.decoding.models import (
    END,
    FIRST_TIMESTAMP,
    NO_TIMESTAMPS,
    PREVIOUS,
    SIZE,
    START,
    TEXT,
    cut,
    features,
    theirs,
    tiny_whisper,
)
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.logits_rules import LogitsRules
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.special_tokens import TIMESTAMPS, SpecialTokens

WORDS = 3
ADDED = range(SIZE, SIZE + WORDS)


def with_words(seed: int):
    """A tiny Whisper to whose vocabulary three words were added, of larger embeddings than others, so decoded often."""
    model = tiny_whisper(seed)
    model.resize_token_embeddings(SIZE + WORDS, mean_resizing=False)
    rows = model.model.decoder.embed_tokens.weight
    with torch.no_grad():
        rows[SIZE:] = torch.randn(WORDS, rows.shape[1], generator=torch.Generator().manual_seed(seed + 7))
    model.generation_config.last_timestamp_token_id = SIZE - 1
    model.generation_config.added_word_ids = list(ADDED)
    return model


def padded(seed: int):
    model = with_words(seed)
    model.generation_config.added_word_ids = []
    model.generation_config.suppress_tokens += list(ADDED)
    return model


def moved(token: int) -> int:
    """Its id once the added words stand at the end of the text."""
    return token if token < TEXT else token + WORDS if token < SIZE else TEXT + token - SIZE


def rearranged(model):
    """The same model, its added words among the text: there transformers knows them for text."""
    found = copy.deepcopy(model)
    order = sorted(range(SIZE + WORDS), key=moved)
    with torch.no_grad():
        found.model.decoder.embed_tokens.weight.copy_(model.model.decoder.embed_tokens.weight[order])
    config = found.generation_config
    for key in ("eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id", "no_timestamps_token_id"):
        setattr(config, key, moved(getattr(config, key)))
    for key in ("suppress_tokens", "begin_suppress_tokens"):
        setattr(config, key, [moved(token) for token in getattr(config, key)])
    for key in ("lang_to_id", "task_to_id"):
        setattr(config, key, {name: moved(token) for name, token in getattr(config, key).items()})
    return found


def by_transformers(model, windows) -> list[list[int]]:
    """Greedy, with timestamps, in the ids of the model before it was rearranged."""
    back = {moved(token): token for token in range(SIZE + WORDS)}
    requested = {"language": "nl", "task": "transcribe", "return_timestamps": True, "num_beams": 1, "do_sample": False}
    found = rearranged(model).generate(
        windows, **requested, return_dict_in_generate=True, force_unique_generate_call=True
    )
    rows = [[back[token] for token in row] for row in found.sequences.tolist()]
    rows = [row[row.index(START) + 3 :] for row in rows]
    return [row[: row.index(END) + 1] if END in row else row for row in rows]


def ours(model, draft, windows, **options) -> list[list[int]]:
    requested = Options(**{"language": "nl", "batch_size": 3, "draft_tokens": 3} | options)
    return [row.tokens for row in Engine(model, draft).decode(windows, requested)]


def engines(model):
    return (None, 0), (cut(model), 3), (cut(model, noise=0.3), 5)


@pytest.mark.parametrize("build", [with_words, padded])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_longer_vocabulary_is_decoded_as_transformers_decodes_it(build, seed):
    model, windows = build(seed), features(6, seed)
    wanted = theirs(model, windows, language="nl", task="transcribe")
    for draft, count in engines(model):
        assert ours(model, draft, windows, draft_tokens=count) == wanted
    assert any(token in ADDED for row in wanted for token in row) == (build is with_words)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_with_timestamps_an_added_word_is_text_and_no_time(seed):
    model, windows = with_words(seed), features(6, seed)
    wanted = by_transformers(model, windows)
    for draft, count in engines(model):
        assert ours(model, draft, windows, draft_tokens=count, timestamps=True) == wanted
    assert any(token in ADDED for row in wanted for token in row)
    assert any(FIRST_TIMESTAMP <= token < SIZE for row in wanted for token in row)


def test_padding_changes_nothing_that_is_decoded_with_timestamps():
    model, windows = padded(4), features(6, 4)
    wanted = ours(tiny_whisper(4), None, windows, draft_tokens=0, timestamps=True)
    assert ours(model, cut(model), windows, timestamps=True) == wanted


def test_sampling_weighs_added_words_as_text():
    """With the mask of probabilities: what `choose` takes is the most likely under `mask`."""
    special = SpecialTokens.of(with_words(0))
    rules = LogitsRules(special, True, None, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        rows = torch.randint(0, SIZE + WORDS, (4, 6), generator=generator)
        history = rules.history(rows, torch.zeros(4, 1, dtype=torch.long), torch.full((4, 1), -1))
        logits = torch.randn(4, 5, SIZE + WORDS, generator=generator) * 2 + rules.bias
        logits[..., SIZE:] += 2
        masked = rules.mask(logits, history)
        assert torch.equal(rules.choose(logits.clone(), history), masked.argmax(-1))


def test_a_draft_whose_head_is_sliced_can_propose_added_words():
    model, windows = with_words(0), features(6)
    decoded = ours(model, None, windows, draft_tokens=0)
    vocabulary = torch.tensor(sorted({token for row in decoded for token in row}))
    requested = Options(language="nl", draft_tokens=3)
    rounds = Engine(model, cut(model, noise=0.0), draft_vocabulary=vocabulary).decode(windows, requested)
    assert [row.tokens for row in rounds] == decoded
    assert sum(row.accepted for row in rounds) == sum(row.drafted for row in rounds)  # the draft is the main itself


def test_every_id_has_one_meaning():
    special = SpecialTokens.of(with_words(0))
    assert [special.kind(token) for token in (0, END, NO_TIMESTAMPS, PREVIOUS)] == [
        "text", "end of text", "special", "special",
    ]  # fmt: skip
    assert [special.kind(token) for token in (FIRST_TIMESTAMP, SIZE - 1, SIZE)] == ["timestamp", "timestamp", "text"]
    assert special.text([5, END, FIRST_TIMESTAMP, SIZE, NO_TIMESTAMPS]) == [5, SIZE]
    assert SpecialTokens.of(padded(0)).kind(SIZE) == "special"


def test_whispers_own_vocabulary_has_a_fixed_range_of_times():
    """Also where nothing in the generation_config says where they end."""
    model = tiny_whisper(0)
    model.resize_token_embeddings(FIRST_TIMESTAMP + TIMESTAMPS + 2, mean_resizing=False)
    special = SpecialTokens.of(model)
    assert special.timestamps == range(FIRST_TIMESTAMP, FIRST_TIMESTAMP + 1501)
    assert special.words == {special.size - 2, special.size - 1}
