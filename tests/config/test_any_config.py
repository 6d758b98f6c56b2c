"""Whatever is in a config or an override, it gives a Config or a refusal, and never another exception."""

import copy

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.config.smallest_config import SMALLEST
from whisper_pair.config.load import dump_config, load_config
from whisper_pair.config.schema import Config
from whisper_pair.errors import InputError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.dates(),
    st.binary(max_size=4),
    st.sampled_from(["fp16", "decoder", "lora", "1e-5", "nan", "-inf", "1_0", "drop", "no", "openai/whisper-tiny"]),
)


def known_paths(tree, prefix: str = "") -> list[str]:
    """Every key of a resolved config, sections and list items included."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path for key, value in items for path in (f"{prefix}{key}", *known_paths(value, f"{prefix}{key}."))]


def known_keys() -> list[str]:
    config = Config(**{key: SMALLEST[key] for key in ("language", "model", "output")}, data={})
    names = {part for path in known_paths(config.resolved()) for part in path.split(".")}
    return sorted(names | {"train", "validation", "test", "folder", "hub", "text", "pack"})


KEYS = st.sampled_from(known_keys()) | st.text(max_size=6) | st.integers(-2, 2) | st.none() | st.booleans()
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def config_or_refusal(path, overrides=()) -> Config | None:
    """Any other exception fails the test."""
    try:
        return load_config(path, overrides)
    except InputError:
        return None


@MANY
@given(tree=TREES)
def test_any_yaml_tree_gives_a_config_or_a_refusal(write, tree):
    config_or_refusal(write(tree))


@MANY
@given(data=st.data())
def test_any_value_anywhere_in_a_valid_config_gives_a_config_or_a_refusal(write, data):
    whole = load_config(write(SMALLEST), ["train.spec_augment={}"]).resolved()
    tree = copy.deepcopy(whole)
    *parents, last = data.draw(st.sampled_from(known_paths(whole))).split(".")
    node = tree
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[int(last) if isinstance(node, list) else last] = data.draw(TREES)
    config = config_or_refusal(write(tree))
    if config is not None:
        assert load_config(write(dump_config(config))) == config


@MANY
@given(text=st.text(max_size=60))
def test_any_text_gives_a_config_or_a_refusal(tmp_path, text):
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode())
    config_or_refusal(path)


@MANY
@given(
    key=st.lists(st.sampled_from([*known_keys(), "0", "1", "", "x"]), max_size=4).map(".".join),
    value=st.text(max_size=20),
)
def test_any_override_gives_a_config_or_a_refusal(smallest, key, value):
    config_or_refusal(smallest, [f"{key}={value}"])


@MANY
@given(
    rate=st.floats(1e-300, 1e300),
    share=st.floats(0, 1),
    layers=st.integers(1, 40) | st.lists(st.integers(0, 40), min_size=1, unique=True).map(sorted),
    language=st.sampled_from(["nl", "Dutch", "pt-BR", "日本語", "no"]),
    texts=st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=2),
    augment=st.none() | st.just({}) | st.fixed_dictionaries({"time_masks": st.integers(0, 9)}),
    error=st.none() | st.floats(0, 9),
)
def test_a_resolved_config_read_again_is_the_same(write, rate, share, layers, language, texts, augment, error):
    tree = SMALLEST | dict(zip(("language", "model", "output"), (language, *texts), strict=True))
    tree |= {
        "train": {"learning_rate": rate, "warmup": share, "spec_augment": augment},
        "distill": {"layers": layers, "max_label_error": error},
    }
    config = load_config(write(tree))
    assert yaml.safe_load(dump_config(config)) == config.resolved()
    assert load_config(write(dump_config(config))) == config
