"""What cannot be decoded is refused in one sentence, before the models are touched."""

import copy
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoding.models import (
    END,
    FIRST_TIMESTAMP,
    FRAMES,
    MELS,
    NL,
    NO_SPEECH,
    NO_TIMESTAMPS,
    PREVIOUS,
    SIZE,
    START,
    TRANSLATE,
    cut,
    features,
    tiny_whisper,
    with_own_encoder,
)
from whisper_pair.decoding.checks import checked_options
from whisper_pair.decoding.encoders import encode
from whisper_pair.decoding.engine import Engine
from whisper_pair.decoding.options import Options
from whisper_pair.decoding.tree import DraftTree
from whisper_pair.errors import InputError


@pytest.fixture(scope="module")
def main():
    return tiny_whisper()


def refused(match, call):
    with pytest.raises(InputError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_model_that_cannot_be_a_main_or_an_assistant(main):
    refused("expected a WhisperForConditionalGeneration", lambda: Engine(cut(main)))
    refused("the assistant is a Linear", lambda: Engine(main, torch.nn.Linear(2, 2)))


def test_an_assistant_of_another_vocabulary(main):
    other = copy.deepcopy(main)
    other.resize_token_embeddings(SIZE + 1)
    refused(f"{SIZE + 1} tokens and the main's {SIZE}", lambda: Engine(main, other))


def test_an_assistant_for_another_encoder(main):
    refused("width is 32 and the main's encoder gives 16", lambda: Engine(main, cut(tiny_whisper(width=32))))
    deaf = with_own_encoder(main, 0.0)
    deaf.config.num_mel_bins = 4
    refused("takes 4 mel bins and the main's 8", lambda: Engine(main, deaf))


def test_an_assistant_larger_than_its_main(main):
    refused("5 layers and the main's 3", lambda: Engine(main, cut(tiny_whisper(layers=5))))
    short = with_own_encoder(main, 0.0)
    short.config.max_target_positions = 10
    refused("holds 10 token positions", lambda: Engine(main, short))


def test_features_of_the_wrong_shape_or_with_nan(main):
    engine, options = Engine(main), Options(language="nl")
    refused(
        rf"window 0: features are \[{MELS + 1}, {2 * FRAMES}\], this main takes \[{MELS}, {2 * FRAMES}\]",
        lambda: engine.decode(torch.zeros(1, MELS + 1, 2 * FRAMES), options),
    )
    for frames in (0, 7, 2 * FRAMES + 2):
        refused(
            rf"window 0: features are \[{MELS}, {frames}\], .* or fewer frames, a multiple of 2",
            lambda frames=frames: engine.decode(torch.zeros(1, MELS, frames), options),
        )
    holes = features(3)
    holes[2, 0, 0] = float("nan")
    refused("window 2: features hold NaN", lambda: engine.decode(holes, options))
    refused("window 0: features are list", lambda: engine.decode([[1.0]], options))
    refused(
        "window 0: encoder states are", lambda: engine.decode(encoder_states=torch.zeros(1, 3, 15), options=options)
    )


def test_nothing_to_decode(main):
    engine = Engine(main)
    refused("no windows", lambda: engine.decode(features(0), Options(language="nl")))
    refused("no windows", lambda: engine.decode([], Options(language="nl")))
    refused("either features or encoder_states", lambda: engine.decode(options=Options(language="nl")))
    assert engine.decode(iter(()), Options(language="nl")) == []  # an iterator that turns out empty is no mistake


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"language": "xx"}, "language 'xx' is not one of this model's"),
        ({"task": "sing"}, "task 'sing' is not one of"),
        ({"batch_size": 0}, "batch_size is 0, expected a whole number, at least 1"),
        ({"batch_size": 2.5}, r"batch_size is 2\.5, expected a whole number"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": 10**9}, "batch_size is 1000000000, expected a whole number, at least 1 and at most"),
        ({"language": 3}, "language is 3, expected a language's code"),
        ({"task": None}, "task is None"),
        ({"timestamps": "yes"}, "timestamps is 'yes', expected True or False"),
        ({"seed": 2**70}, "seed is 1180591620717411303424"),
        ({"temperature": [0.0, "hot"]}, r"temperature is \[0\.0, 'hot'\]"),
        ({"confidence": float("nan")}, "confidence is nan"),
        ({"log_probability_threshold": "-1"}, "log_probability_threshold is '-1'"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"draft_tokens": -1}, "draft_tokens is -1"),
        ({"draft_tokens": 99}, "draft_tokens is 99"),
        ({"confidence": 1.5}, "confidence is 1.5"),
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": ()}, r"temperature is \(\)"),
        ({"no_speech_threshold": 0.6}, "log_probability_threshold is None"),
    ],
)
def test_options_out_of_range(main, options, match):
    refused(match, lambda: Engine(main).decode(features(1), Options(**{"language": "nl"} | options)))


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.decimals(),
    st.complex_numbers(),
    st.text(max_size=8),
    st.binary(max_size=3),
    st.sampled_from(["auto", "nl", "NL", "Dutch", "transcribe", "translate", object(), int, torch.tensor(2), ...]),
    st.sampled_from([np.int64(2), np.int8(1), np.float32(0.5), np.float64("nan"), np.bool_(True), np.str_("nl")]),
    st.just(DraftTree.of([(0,), (1,), (1, 0)])),
    st.builds(np.array, st.lists(st.floats(0, 1), max_size=3)),
    st.recursive(
        st.none() | st.floats(0, 1) | st.text(max_size=2),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    ),
)


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(sorted(vars(Options()))), value=JUNK)
def test_any_value_of_any_option_is_taken_or_refused_in_one_sentence(main, name, value):
    """What is taken also decodes: a wrong type must not come to light halfway."""
    engine = Engine(main)
    try:
        options = checked_options(Options(**{"language": "nl", "max_new_tokens": 3, name: value}), engine.special)
    except InputError as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is not None:
        assert re.match(rf"{name}|language|task|timestamps|no_speech|log_prob", refusal)
        assert "\n" not in refusal
        return
    assert type(getattr(options, name)) in (int, float, str, bool, tuple, type(None), DraftTree)
    engine.decode(features(1), replace(options, batch_size=min(options.batch_size, 4)))


def test_numbers_of_numpy_and_lists_of_temperatures_decode_as_pythons_own(main):
    theirs = {"batch_size": np.int64(2), "max_new_tokens": np.int32(5), "temperature": [np.float32(0), 0.5]}
    theirs |= {"seed": np.uint8(3), "timestamps": np.bool_(True), "compression_ratio_threshold": np.float64(2)}
    ours = {"batch_size": 2, "max_new_tokens": 5, "temperature": (0.0, 0.5), "seed": 3, "timestamps": True}
    found, wanted = (
        Engine(main).decode(features(3), Options(language="nl", **options))
        for options in (theirs, ours | {"compression_ratio_threshold": 2.0})
    )
    assert found == wanted


def test_what_is_no_options_at_all(main):
    refused("options are {'task': 'x'}, expected", lambda: Engine(main).decode(features(1), {"task": "x"}))


def test_what_an_english_only_model_cannot_do():
    engine = Engine(tiny_whisper(multilingual=False))
    refused("it is English-only", lambda: engine.decode(features(1), Options(language="nl")))
    refused("which can only transcribe", lambda: engine.decode(features(1), Options(task="translate")))


def test_a_generation_config_that_lacks_what_is_requested():
    bare = tiny_whisper()
    bare.generation_config.no_timestamps_token_id = None
    refused("has no no_timestamps_token_id", lambda: Engine(bare).decode(features(1), Options(timestamps=True)))
    bare.generation_config.prev_sot_token_id = None
    refused("has no prev_sot_token_id", lambda: Engine(bare).decode(features(1), Options(), [[1]]))
    bare.generation_config.decoder_start_token_id = None
    refused("decoder_start_token_id=None", lambda: Engine(bare))


def test_prompts_and_draft_vocabularies_outside_the_vocabulary(main):
    refused("prompt 1 holds a token outside", lambda: Engine(main).decode(features(2), Options(), [None, [SIZE]]))
    refused("prompts are 7", lambda: Engine(main).decode(features(1), Options(language="nl"), 7))
    for junk in ("text", ["a"], [1.5], [None], 3, [True], [[1]], b"x"):
        refused("prompt 0 is", lambda junk=junk: Engine(main).decode(features(1), Options(language="nl"), [junk]))
    draft = cut(main)
    refused("names tokens from 3 to", lambda: Engine(main, draft, torch.tensor([3, SIZE])))
    refused("holds no text token", lambda: Engine(main, draft, torch.tensor([105])))
    refused("expected a 1-D int64 tensor", lambda: Engine(main, draft, torch.tensor([1.0])))


@pytest.mark.parametrize("token", [END, START, NL, TRANSLATE, NO_SPEECH, NO_TIMESTAMPS, PREVIOUS])
def test_previous_text_that_would_steer_the_model_is_refused(main, token):
    engine = Engine(main)
    call = partial(engine.decode, features(1), Options(language="nl"))
    refused(f"prompt 0 holds the control token {token}", lambda: call([[3, token, 4]]))
    refused(f"prompt 0 holds the control token {token}", lambda: call([[PREVIOUS, 3, token]]))
    bare = tiny_whisper()
    bare.generation_config.no_timestamps_token_id = None
    if token not in (NO_SPEECH, NO_TIMESTAMPS):  # nothing names them there
        refused("control token", lambda: Engine(bare).decode(features(1), Options(language="nl"), [[3, token]]))


def test_previous_text_may_hold_timestamps_and_begin_with_its_own_token_in_any_kind_of_list(main):
    plain = Engine(main).decode(features(1), Options(language="nl"), [[3, FIRST_TIMESTAMP + 2, 4]])
    tokens = [PREVIOUS, 3, FIRST_TIMESTAMP + 2, 4]
    for prompt in (tokens, tuple(tokens), np.array(tokens), torch.tensor(tokens)):
        assert Engine(main).decode(features(1), Options(language="nl"), [prompt]) == plain
    none = Engine(main).decode(features(1), Options(language="nl"))
    assert Engine(main).decode(features(1), Options(language="nl"), [np.array([], int)]) == none


def test_an_assistant_that_listens_for_itself_needs_its_own_states(main):
    engine = Engine(main, with_own_encoder(main, 0.1))
    states = encode(main.model.encoder, features(1))
    refused("give draft_states", lambda: engine.decode(encoder_states=states, options=Options(language="nl")))


def test_weights_that_changed_under_the_engine():
    main = tiny_whisper()
    draft = cut(main)
    engine = Engine(main, draft)
    with torch.no_grad():
        draft.model.decoder.layers[0].self_attn.k_proj.weight.mul_(0.5)
    refused("changed since this Engine was built", lambda: engine.decode(features(1), Options(language="nl")))
    assert Engine(main, draft).decode(features(1), Options(language="nl"))


def test_as_many_prompts_and_draft_states_as_windows(main):
    engine = Engine(main, with_own_encoder(main, 0.1))
    refused("2 prompts for 3 windows", lambda: engine.decode(features(3), Options(language="nl"), [None, [1]]))
    refused("1 prompts and at least 2", lambda: engine.decode(iter(features(3)), Options(language="nl"), [[1]]))
    states = encode(main.model.encoder, features(3))
    refused(
        "2 draft states for 3 windows",
        lambda: engine.decode(encoder_states=states, draft_states=states[:2], options=Options(language="nl")),
    )
    refused(
        f"window 0: encoder states are of {FRAMES} frames and draft states of 8",
        lambda: engine.decode(encoder_states=states, draft_states=states[:, :8], options=Options(language="nl")),
    )


def test_a_bad_window_among_good_ones_is_found_before_any_is_decoded(main):
    holes = features(9)
    holes[8] = float("inf")
    rounds = []
    options = Options(language="nl", batch_size=1)
    refused("window 8", lambda: Engine(main).decode(holes, options, on_round=lambda *seen: rounds.append(seen)))
    refused("window 8", lambda: Engine(main).decode(list(holes), options, on_round=lambda *seen: rounds.append(seen)))
    assert rounds == []


def test_costs_without_an_assistant(main):
    refused("no assistant whose cost", lambda: Engine(main).costs())
