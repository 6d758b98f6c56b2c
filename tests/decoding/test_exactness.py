"""Every row's tokens are those of transformers' greedy generate and of a plain loop, for any batch and any draft."""

from collections import Counter
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoModelForSpeechSeq2Seq

from tests.decoding.models import (
    ALWAYS,
    END,
    FIRST_TIMESTAMP,
    FR,
    FRAMES,
    NEVER,
    NO_TIMESTAMPS,
    ONCE_READ,
    POSITIONS,
    PREVIOUS,
    START,
    cut,
    features,
    packing,
    theirs,
    tiny_whisper,
    trees,
    with_own_encoder,
)
from tests.decoding.oracle import forced_prefix, greedy
from whisper_pair.decoding.encoders import encode
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.tree import DraftTree

TREE = DraftTree.of([(0,), (1,), (2,), (0, 0), (0, 1), (1, 0), (0, 0, 0)])


def tokens_of(engine, windows, prompts=None, **options):
    return [row.tokens for row in engine.decode(windows, Options(**{"language": "nl"} | options), prompts)]


@cache
def model(seed, layers, heads, suppressed, initial):
    return tiny_whisper(
        seed, layers, heads, suppressed=suppressed, suppressed_first=(5, END), max_initial_timestamp=initial
    )


@cache
def plain(key, window, prompt, timestamps, limit):
    return greedy(model(*key), features(9, key[0])[window], list(prompt), timestamps, limit)


MODELS = st.tuples(
    st.sampled_from([0, 1, 2, 4]),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 4]),
    st.sampled_from([(), (1, 2, 3, START, PREVIOUS), tuple(range(40, 80))]),
    st.sampled_from([None, 3]),
)
AHEAD = st.sampled_from([NEVER, ONCE_READ, ALWAYS])
DRAFTS = st.tuples(st.sampled_from(["own encoder", "all layers", "one layer"]), st.sampled_from([0.0, 0.05, 0.3]))


def drafter(main, kind, noise):
    if kind == "own encoder":
        return with_own_encoder(main, noise)
    return cut(main, 1 if kind == "one layer" else None, noise)


@settings(deadline=None, max_examples=80)
@given(
    key=MODELS,
    draft=DRAFTS,
    timestamps=st.booleans(),
    batch_size=st.integers(1, 9),
    draft_tokens=st.integers(0, 12) | trees(),
    limit=st.sampled_from([None, 1, 6]),
    rows=st.lists(st.tuples(st.integers(0, 8), st.lists(st.integers(0, 99), max_size=30)), min_size=1, max_size=5),
    packed=st.booleans(),
    bucketed=st.booleans(),
    ahead=AHEAD,
)
def test_rows_equal_a_plain_loop(
    key, draft, timestamps, batch_size, draft_tokens, limit, rows, packed, bucketed, ahead
):
    main, windows = model(*key), features(9, key[0])
    with packing(packed):
        engine = Engine(main, drafter(main, *draft))
    engine.bucketed, engine.ahead = bucketed, ahead  # as on CUDA
    expected = [plain(key, window, tuple(prompt), timestamps, limit) for window, prompt in rows]
    found = tokens_of(
        engine,
        windows[[window for window, _ in rows]],
        [prompt for _, prompt in rows],
        timestamps=timestamps,
        batch_size=batch_size,
        draft_tokens=draft_tokens,
        max_new_tokens=limit,
    )
    assert found == expected


@settings(deadline=None, max_examples=30)
@given(
    key=MODELS,
    draft=DRAFTS,
    timestamps=st.booleans(),
    task=st.sampled_from(["transcribe", "translate"]),
    batch_size=st.integers(1, 9),
    draft_tokens=st.integers(1, 12) | trees(),
    packed=st.booleans(),
    bucketed=st.booleans(),
    ahead=AHEAD,
)
def test_rows_equal_transformers(key, draft, timestamps, task, batch_size, draft_tokens, packed, bucketed, ahead):
    main, windows = model(*key), features(9, key[0])
    expected = theirs(main, windows, language="nl", task=task, return_timestamps=timestamps)
    with packing(packed):
        engine = Engine(main, drafter(main, *draft))
    engine.bucketed, engine.ahead = bucketed, ahead  # as on CUDA
    options = {"timestamps": timestamps, "task": task, "batch_size": batch_size, "draft_tokens": draft_tokens}
    assert tokens_of(engine, windows, **options) == expected


@pytest.mark.parametrize("timestamps", [False, True])
def test_previous_text_prompts_of_unequal_length_equal_transformers(timestamps):
    main, windows = tiny_whisper(0), features(4)
    prompts = [None, [7, 8, 9], list(range(20, 43)), [30]]
    expected = [
        theirs(main, window[None], prompt, language="nl", task="transcribe", return_timestamps=timestamps)[0]
        for window, prompt in zip(windows, prompts, strict=True)
    ]
    engine = Engine(main, cut(main))
    for batch_size, draft_tokens in ((1, 3), (4, 3), (3, 0), (1, TREE), (3, TREE)):
        found = tokens_of(
            engine, windows, prompts, timestamps=timestamps, batch_size=batch_size, draft_tokens=draft_tokens
        )
        assert found == expected


def test_a_prompt_that_brings_its_own_start_is_not_doubled_and_a_long_one_keeps_its_end():
    main, window = tiny_whisper(0), features(1)
    engine = Engine(main)
    once = engine.decode(window, Options(language="nl"), [[7, 8]])[0]
    assert engine.decode(window, Options(language="nl"), [[PREVIOUS, 7, 8]])[0].prompt == once.prompt
    assert once.prompt == forced_prefix([7, 8], timestamps=False)
    long = engine.decode(window, Options(language="nl"), [list(range(60))])[0]
    assert long.prompt[:2] == [PREVIOUS, 60 - (POSITIONS // 2 - 1)]


@pytest.mark.parametrize("draft_tokens", [4, TREE])
@pytest.mark.parametrize("limits", [{"max_new_tokens": 5}, {"max_length": 7}])
def test_length_limits_equal_transformers(limits, draft_tokens):
    main, windows = tiny_whisper(0), features(3)
    main.generation_config.update(**limits)
    expected = theirs(main, windows, language="nl", task="transcribe")
    engine = Engine(main, cut(main))
    options = {"max_new_tokens": limits["max_new_tokens"]} if "max_new_tokens" in limits else {}
    assert tokens_of(engine, windows, draft_tokens=draft_tokens, **options) == expected
    assert max(map(len, expected)) < POSITIONS - 4  # the limit was the one that bit


def test_an_undetermined_language_is_detected_for_each_window_as_transformers_does():
    main, windows = tiny_whisper(4), features(9, 4)
    expected = theirs(main, windows, task="transcribe")
    languages = main.detect_language(windows).tolist()
    assert len(set(languages)) > 1
    rows = Engine(main, cut(main)).decode(windows, Options(batch_size=4, draft_tokens=3))
    assert [row.tokens for row in rows] == expected
    assert [row.prompt[1] for row in rows] == languages
    assert {row.language for row in rows if row.prompt[1] == FR} <= {"fr"}


@pytest.mark.parametrize("timestamps", [False, True])
def test_an_english_only_model_takes_no_language(timestamps):
    main, windows = tiny_whisper(1, multilingual=False), features(5)
    expected = theirs(main, windows, return_timestamps=timestamps)
    rows = Engine(main, cut(main)).decode(windows, Options(timestamps=timestamps, draft_tokens=4))
    assert [row.tokens for row in rows] == expected
    assert rows[0].prompt == ([START] if timestamps else [START, NO_TIMESTAMPS])


def test_a_sliced_draft_head_changes_nothing_but_what_is_proposed():
    main, windows = tiny_whisper(0), features(9)
    draft = cut(main)
    for timestamps in (False, True):
        whole = Engine(main, draft).decode(windows, Options(language="nl", timestamps=timestamps, draft_tokens=4))
        kept = sorted({token for row in whole for token in row.tokens if token < END})[::2]
        proposed: set[int] = set()
        engine = Engine(main, draft, draft_vocabulary=torch.tensor(kept[::-1]))
        sliced = engine.decode(
            windows,
            Options(language="nl", timestamps=timestamps, draft_tokens=4),
            on_round=lambda _, step, seen=proposed: seen.update(step.drafted),
        )
        assert [row.tokens for row in sliced] == [row.tokens for row in whole]
        assert {token for token in proposed if token < FIRST_TIMESTAMP} <= {*kept, END}
        assert sum(row.accepted for row in sliced) > 0


def test_a_draft_vocabulary_smaller_than_a_trees_choices_stays_exact():
    main, windows = tiny_whisper(0), features(5)
    expected = tokens_of(Engine(main), windows)
    common, _ = Counter(token for row in expected for token in row if token < END).most_common(1)[0]
    engine = Engine(main, cut(main), draft_vocabulary=torch.tensor([common]))
    rows = engine.decode(windows, Options(language="nl", draft_tokens=TREE, batch_size=2))
    assert [row.tokens for row in rows] == expected
    assert sum(row.accepted for row in rows) > 0


def test_windows_are_drawn_only_as_places_come_free():
    main, windows = tiny_whisper(4), features(9, 4)
    drawn, seen = [], []

    def source():
        for index, window in enumerate(windows):
            drawn.append(index)
            yield window

    engine = Engine(main, cut(main))
    options = Options(language="nl", batch_size=2, draft_tokens=3)
    rows = engine.decode(source(), options, on_round=lambda index, _: seen.append((index, len(drawn))))
    assert [row.tokens for row in rows] == tokens_of(engine, windows, draft_tokens=0)
    assert all(count <= index + 4 for index, count in seen)  # at most the batch and one batch encoded ahead
    assert {index for index, _ in seen} == set(range(9))


def test_encoder_states_serve_as_well_as_features():
    main, windows = tiny_whisper(0), features(3)
    own = with_own_encoder(main, 0.1)
    states, draft_states = encode(main.model.encoder, windows), encode(own.model.encoder, windows)
    options = Options(language="nl", draft_tokens=3)
    expected = Engine(main, own).decode(windows, options)
    assert Engine(main, own).decode(encoder_states=states, draft_states=draft_states, options=options) == expected


@pytest.mark.parametrize("draft_tokens", [3, TREE])
def test_rounds_as_they_happen_add_up_to_the_result(draft_tokens):
    main, windows = tiny_whisper(4), features(6, 4)
    rounds = {index: [] for index in range(6)}
    rows = Engine(main, cut(main)).decode(
        windows,
        Options(language="nl", draft_tokens=draft_tokens, batch_size=2),
        on_round=lambda index, step: rounds[index].append(step),
    )
    for index, row in enumerate(rows):
        assert [token for step in rounds[index] for token in step.tokens] == row.tokens
        assert tuple(len(step.drafted) for step in rounds[index]) == row.drafted_per_round
        assert tuple(step.accepted for step in rounds[index]) == row.accepted_per_round
        for step in rounds[index] if draft_tokens is TREE else ():
            assert all(parent < number for number, parent in enumerate(step.parents))
            assert [step.parents[number] for number in step.path] == [-1, *step.path][: step.accepted]
            assert tuple(step.drafted[number] for number in step.path) == step.tokens[: step.accepted]


def test_a_pair_saved_and_loaded_decodes_the_same(tmp_path):
    main, windows = tiny_whisper(0), features(4)
    draft = cut(main)
    main.save_pretrained(tmp_path / "main")
    draft.save_pretrained(tmp_path / "draft")
    again = Engine(
        AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / "main"),
        AutoModelForCausalLM.from_pretrained(tmp_path / "draft"),
    )
    options = Options(language="nl", draft_tokens=4)
    assert again.decode(windows, options) == Engine(main, draft).decode(windows, options)


@pytest.mark.parametrize(("dtype", "noise"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_half_precision_departs_from_transformers_at_near_ties_alone(dtype, noise):
    main, windows = tiny_whisper(0).to(dtype), features(9).to(dtype)
    expected = theirs(main, windows, language="nl", task="transcribe")
    found = tokens_of(Engine(main, cut(main).to(dtype)), windows, draft_tokens=4)
    for window, ours, other in zip(windows, found, expected, strict=True):
        if ours == other:
            continue
        place = next(at for at, pair in enumerate(zip(ours, other, strict=False)) if pair[0] != pair[1])
        ids = torch.tensor([forced_prefix(None, timestamps=False) + ours[:place]])
        with torch.no_grad():
            logits = main(window[None], decoder_input_ids=ids).logits[0, -1]
        assert abs(logits[ours[place]] - logits[other[place]]) < noise


def test_an_assistant_of_another_precision_changes_nothing():
    main, windows = tiny_whisper(0), features(6)
    expected = tokens_of(Engine(main), windows)
    assert tokens_of(Engine(main, cut(main).bfloat16()), windows, draft_tokens=4) == expected


def test_padded_shapes_as_cuda_graphs_need_them_change_nothing():
    main, windows = tiny_whisper(4), features(9, 4)
    prompts = [None, [1, 2], list(range(20))] * 3
    expected = tokens_of(Engine(main), windows, prompts)
    engine = Engine(main, cut(main), graphs=False)
    engine.bucketed = True
    for batch_size, draft_tokens in ((1, 5), (3, 5), (8, 5), (3, TREE)):
        assert tokens_of(engine, windows, prompts, batch_size=batch_size, draft_tokens=draft_tokens) == expected


@pytest.mark.parametrize("options", [{}, {"confidence": 0.4}, {"log_probabilities": True}], ids=str)
def test_the_main_is_fed_few_numbers_of_tokens_on_cuda_whatever_is_drafted(options, monkeypatch):
    main, windows = tiny_whisper(4), features(5, 4)
    expected = tokens_of(Engine(main), windows)
    engine = Engine(main, cut(main), graphs=False)
    fed, step = set(), engine.main.step

    def counting(cache, tokens, *given):
        fed.add(tokens.shape[1])
        return step(cache, tokens, *given)

    monkeypatch.setattr(engine.main, "step", counting)
    for draft_tokens in (*range(13), 16, 32):
        assert tokens_of(engine, windows, draft_tokens=draft_tokens, batch_size=3, **options) == expected
    every, engine.bucketed = set(fed), True
    fed.clear()
    for draft_tokens in (*range(13), 16, 32):
        assert tokens_of(engine, windows, draft_tokens=draft_tokens, batch_size=3, **options) == expected
    assert fed <= {1, 2, 3, 5, 9, 17, 33, 36}  # the last: a prefix of 4 and 32 drafts
    assert every - fed


def test_a_compiled_step_traces_completely_and_gives_the_same_tokens():
    """The tracing that torch.compile does on CUDA, run here without its code generator."""
    main, windows = tiny_whisper(4), features(3, 4)
    expected = tokens_of(Engine(main), windows)
    engine = Engine(main, cut(main))
    engine.bucketed = True
    engine.main.compile(backend="aot_eager")
    engine.draft.compile(backend="aot_eager")
    for draft_tokens in (4, TREE):
        assert tokens_of(engine, windows, batch_size=2, draft_tokens=draft_tokens) == expected


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_short_prefix_is_read_in_the_first_round_and_costs_no_forward_of_its_own(timestamps, monkeypatch):
    main, windows = tiny_whisper(4), features(5, 4)
    expected = tokens_of(
        Engine(main), windows, timestamps=timestamps, no_speech_threshold=1, log_probability_threshold=0
    )
    engine = Engine(main, cut(main))
    prompted = tokens_of(engine, windows, [[1, 2]] * 5, timestamps=timestamps, draft_tokens=3)
    monkeypatch.setattr(engine.main, "read", None)
    monkeypatch.setattr(engine.draft, "read", None)
    for draft_tokens in (0, 3, TREE):
        assert tokens_of(engine, windows, batch_size=1, timestamps=timestamps, draft_tokens=draft_tokens) == expected
        found = tokens_of(engine, windows, [[1, 2]] * 5, batch_size=5, timestamps=timestamps, draft_tokens=draft_tokens)
        assert found == prompted


def test_a_warm_up_measures_and_changes_nothing():
    main, windows = tiny_whisper(4), features(3, 4)
    engine = Engine(main, cut(main))
    options = Options(language="nl", batch_size=2)
    engine.warm_up(options)
    assert set(engine.round_times.known) == {(1, False, None), (2, False, None)}
    assert [row.tokens for row in engine.decode(windows, options)] == tokens_of(Engine(main), windows)


def test_a_warm_up_over_short_windows_makes_caches_for_them_alone(monkeypatch):
    monkeypatch.setattr("whisper_pair.decoding.short_windows.FRAME_BUCKET", 4)
    main = tiny_whisper(4)
    engine = Engine(main, cut(main))
    engine.warm_up(Options(language="nl"), frames=8)
    assert engine.caches.of(1, 1)[0].frames == 8
    engine.warm_up(Options(language="nl"))
    assert engine.caches.of(1, 1)[0].frames == FRAMES
