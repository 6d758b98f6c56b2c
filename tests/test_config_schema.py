"""The schema: whatever a user writes gives a Config or one clear sentence that names the key's full path."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whisper_pair.config.hints import SYNONYMS, paths
from whisper_pair.config.schema import Config, Lora, SpecAugment, dump_config, load_config
from whisper_pair.errors import InputError

ROOT = Path(__file__).resolve().parent.parent

SPLITS = ("train", "validation", "test")
SMALLEST = {
    "language": "nl",
    "model": "openai/whisper-base",
    "output": "outputs/smallest",
    "data": {split: [{"folder": f"speech/{split}"}] for split in SPLITS},
}


@pytest.fixture
def write(tmp_path):
    """Writes a tree, or YAML text, as a config file."""

    def to_file(content) -> Path:
        path = tmp_path / "pair.yaml"
        text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def smallest(write):
    return write(SMALLEST)


def changed(path: str, value) -> dict:
    """SMALLEST with one value replaced."""
    tree = copy.deepcopy(SMALLEST)
    *parents, last = path.split(".")
    node = tree
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[int(last) if isinstance(node, list) else last] = value
    return tree


def test_reading_a_config_imports_nothing_heavy():
    code = "import sys, whisper_pair.config; print(*sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_config_needs_no_more_than_language_model_output_and_data(smallest):
    config = load_config(smallest)
    assert config.train.parameters == "decoder"
    assert config.train.learning_rate == 1e-5
    assert config.distill.learning_rate == 3e-4
    assert config.distill.layers == 2
    assert config.data.test[0].folder == "speech/test"
    assert config.train.spec_augment is None


def test_an_empty_section_means_its_defaults(write):
    config = load_config(write(changed("train", {"spec_augment": {}, "lora": {}})))
    assert config.train.spec_augment == SpecAugment()
    assert config.train.lora == Lora()


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("tracke", "tracker"),
        ("train.learning_rat", "train.learning_rate"),
        ("train.lora.ranks", "train.lora.rank"),
        ("train.spec_augment.time_mask", "train.spec_augment.time_masks"),
        ("distill.layer", "distill.layers"),
        ("data.train.0.foldr", "data.train.0.folder"),
        ("data.packs", "data.pack"),
        ("eval.batch_size", "eval.batch_sizes"),
        ("lang", "language"),
        ("output_dir", "output"),
        ("model_name_or_path", "model"),
        ("train.lr", "train.learning_rate"),
        ("train.batch", "train.batch_size"),
        ("train.gradient_accumulation_steps", "train.accumulation"),
        ("train.num_train_epochs", "train.epochs"),
        ("train.Learning-Rate", "train.learning_rate"),
        ("distill.bf16", "distill.precision"),
        ("distill.losses.ce", "distill.losses.cross_entropy"),
        ("data.val", "data.validation"),
        ("data.train.0.path", "data.train.0.folder"),
        ("data.train.0.dataset", "data.train.0.hub"),
        ("eval.batch", "eval.batch_sizes"),
        ("learning_rate", "train.learning_rate or distill.learning_rate"),
        ("lr", "train.learning_rate or distill.learning_rate"),
        ("epoch", "train.epochs or distill.epochs"),
        ("layers", "distill.layers"),
        ("train.layers", "distill.layers"),
        ("train.kl", "distill.losses.kl"),
        ("train.lora_r", "train.lora.rank"),
        ("distill.parameters", "train.parameters"),
        ("folder", "data.train.0.folder or data.validation.0.folder or data.test.0.folder"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(write, path, nearest):
    with pytest.raises(InputError) as refusal:
        load_config(write(changed(path, 1)))
    assert str(refusal.value) == f"{path}: unknown key; the nearest known one is {nearest}."


def test_how_much_of_the_teacher_is_learnt_is_all_or_a_count(write):
    assert load_config(write(changed("distill", {}))).distill.teacher_tokens == "all"
    assert load_config(write(changed("distill.teacher_tokens", 32))).distill.teacher_tokens == 32
    for wrong in (0, "most", 2.5):
        with pytest.raises(InputError, match=r"^distill\.teacher_tokens: expected (all or )?a whole number above 0"):
            load_config(write(changed("distill.teacher_tokens", wrong)))


def test_the_key_that_once_hung_on_the_disk_is_refused_by_its_new_name(write):
    with pytest.raises(InputError, match=r"^distill\.cache_top_k: is now distill\.teacher_tokens, .* 16 for the 16"):
        load_config(write(changed("distill.cache_top_k", 16)))
    assert load_config(write(changed("distill.cache_top_k", 32))).distill.teacher_tokens == "all"  # its old default


@pytest.mark.parametrize("key", ["language", "model", "output", "data"])
def test_a_missing_key_is_named_with_what_it_should_hold(write, key):
    tree = {name: value for name, value in SMALLEST.items() if name != key}
    with pytest.raises(InputError, match=rf"^{key}: missing; expected "):
        load_config(write(tree))


def test_a_missing_split_is_named_by_its_full_path(write):
    tree = changed("data", {"train": SMALLEST["data"]["train"], "validation": SMALLEST["data"]["validation"]})
    with pytest.raises(InputError, match=r"^data\.test: missing; expected a list"):
        load_config(write(tree))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("language", 7, "text"),
        ("language", "  ", "not empty"),
        ("language", None, "text"),
        ("model", "", "not empty"),
        ("seed", 1.5, "a whole number"),
        ("seed", True, "a whole number"),
        ("task", "translat", "one of transcribe, translate"),
        ("task", ["transcribe"], "one of transcribe, translate"),
        ("tracker", None, "one of none, wandb, tensorboard, trackio"),
        ("data", [], "keys and values"),
        ("data.train", {"folder": "speech"}, "a list"),
        ("data.train.0", "speech", "keys and values"),
        ("data.train.0.folder", 3, "text or null"),
        ("data.pack", "yes", "true or false"),
        ("data.pack", 1, "true or false"),
        ("data.pack_gap", -0.1, "at least 0"),
        ("data.unpacked_share", 1.1, "from 0 to 1"),
        ("data.long_audio", "cut", "one of drop, split"),
        ("data.workers", -1, "at least 0"),
        ("train", 3, "keys and values"),
        ("distill", None, "keys and values"),
        ("train.epochs", 0, "above 0"),
        ("train.epochs", float("nan"), "a number"),
        ("train.epochs", float("inf"), "a number"),
        ("train.learning_rate", "fast", "a number"),
        ("train.learning_rate", "nan", "a number"),
        ("train.learning_rate", True, "a number"),
        ("train.batch_size", 0, "above 0"),
        ("train.batch_size", 2.0, "a whole number"),
        ("train.batch_size", "16", "a whole number"),
        ("train.precision", "float16", "one of auto, fp32, bf16, fp16"),
        ("train.spec_augment", True, "keys and values"),
        ("train.lora.targets", "q_proj", "a list"),
        ("train.lora.targets", ["q_proj", 1], "text"),
        ("distill.layers", 0, "above 0"),
        ("distill.layers", "2", "above 0"),
        ("distill.layers", [], "rising order"),
        ("distill.layers", [3, 0], "rising order"),
        ("distill.layers", [0, 0], "rising order"),
        ("distill.layers", [-1, 3], "at least 0"),
        ("distill.max_label_error", -1, "at least 0"),
        ("eval.draft_tokens", [4, 17], "from 1 to 16"),
        ("eval.draft_tokens", [], "not empty"),
        ("eval.batch_sizes", [], "not empty"),
        ("eval.batch_sizes", 8, "a list"),
        ("eval.assistant", "openai/whisper-tiny", "null where the config trains a main"),
        ("eval.limit", 0, "above 0"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_its_full_path(write, path, value, expected):
    with pytest.raises(InputError) as refusal:
        load_config(write(changed(path, value)))
    message = str(refusal.value)
    assert re.match(rf"{re.escape(path)}(\.\d+)?: expected ", message), message
    assert expected in message
    assert "found" in message


@pytest.mark.parametrize(
    ("source", "found"),
    [({}, "found none"), ({"text": "sentence"}, "found none"), ({"manifest": "a", "hub": "b"}, "hub and manifest")],
)
def test_a_source_is_of_exactly_one_kind(write, source, found):
    with pytest.raises(InputError, match=r"^data\.validation\.0: expected exactly one of folder, hub,") as refusal:
        load_config(write(changed("data.validation.0", source)))
    assert found in str(refusal.value)


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ({"folder": "a", "stream": True}, "stream"),
        ({"parquet": "a", "revision": "main"}, "revision"),
        ({"webdataset": "a", "config": "nl"}, "config"),
        ({"folder": "a", "root": "b"}, "root"),
    ],
)
def test_a_key_that_its_source_cannot_heed_is_refused(write, source, key):
    with pytest.raises(InputError, match=rf"^data\.train\.0\.{key}: expected it only beside"):
        load_config(write(changed("data.train.0", source)))


def test_what_is_learnt_of_the_audio_is_kept_in_the_run_unless_a_folder_is_named(smallest):
    assert load_config(smallest).data.cache == "outputs/smallest/data"
    assert load_config(smallest, ["data.cache=shared"]).data.cache == "shared"


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_needs_a_source(write, split):
    with pytest.raises(InputError, match=rf"^data\.{split}: expected at least one source, found \[\]"):
        load_config(write(changed(f"data.{split}", [])))


def test_speech_without_text_may_train_but_not_judge(write):
    silent = {"folder": "speech/more", "text": None}
    assert load_config(write(changed("data.train", [silent]))).data.train[0].text is None
    with pytest.raises(InputError, match=r"^data\.test\.0\.text: expected a column with the human text"):
        load_config(write(changed("data.test", [silent])))


def test_a_checkpoint_can_be_the_main_as_it_stands(write):
    path = write(changed("train", None))
    assert load_config(path).train is None


@pytest.mark.parametrize("off", ["train", "train.spec_augment"])
def test_what_is_switched_off_is_not_switched_on_by_the_way(write, off):
    path = write(changed(off, None))
    key = {"train": "train.epochs", "train.spec_augment": "train.spec_augment.time_masks"}[off]
    with pytest.raises(InputError, match=rf"^{key}: {off} is null, .* put {off}=\{{\}} before"):
        load_config(path, [f"{key}=2"])
    switched_on = load_config(path, [f"{off}={{}}", f"{key}=2"]).resolved()
    for part in key.split("."):
        switched_on = switched_on[part]
    assert switched_on == 2


def test_a_key_near_to_nothing_is_refused_with_those_that_are_known(smallest):
    with pytest.raises(InputError, match=r"^data\.zzz: unknown key; known here are train, validation, test, cache"):
        load_config(smallest, ["data.zzz=1"])


def test_every_other_word_for_a_key_means_one_of_ours():
    known = {path.rpartition(".")[2] for path in paths(Config)}
    for word, names in SYNONYMS.items():
        assert word not in known
        assert set(names) <= known, word


@pytest.mark.parametrize("override", ["train.parameters=all", "train.spec_augment={}"])
def test_encoder_states_are_kept_only_where_they_never_change(smallest, override):
    assert load_config(smallest, ["train.cache_encoder=true"]).train.cache_encoder
    with pytest.raises(InputError, match=r"^train\.cache_encoder: expected false"):
        load_config(smallest, ["train.cache_encoder=true", override])


def test_distillation_needs_a_loss(smallest):
    with pytest.raises(InputError, match=r"^distill\.losses: expected a weight above 0"):
        load_config(smallest, ["distill.losses.kl=0", "distill.losses.cross_entropy=0"])
    assert load_config(smallest, ["distill.losses.kl=0"]).distill.losses.cross_entropy == 1.0


def test_norwegian_needs_quotes_and_is_told_so(write):
    text = yaml.safe_dump(changed("language", "LANGUAGE"))
    with pytest.raises(InputError, match=r"^language: expected text, found false \(Norwegian needs quotes: 'no'\)"):
        load_config(write(text.replace("LANGUAGE", "no")))
    assert load_config(write(text.replace("LANGUAGE", "'no'"))).language == "no"


@pytest.mark.parametrize(
    ("written", "value"), [("3e-5", 3e-5), ("3.0e-5", 3e-5), ("1", 1.0), ("1E-4", 1e-4), (".5", 0.5)]
)
def test_numbers_may_be_written_scientifically_with_or_without_a_point(write, written, value):
    text = yaml.safe_dump(changed("train.learning_rate", "RATE")).replace("RATE", written)
    assert load_config(write(text)).train.learning_rate == value


@pytest.mark.parametrize("number", [1, 3, 32])
def test_layers_are_a_count_or_a_list(write, number):
    assert load_config(write(changed("distill.layers", number))).distill.layers == number
    assert load_config(write(changed("distill.layers", [0, number]))).distill.layers == (0, number)


# Files that are no config


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.yaml: cannot be read \(No such file"):
        load_config(tmp_path / "absent.yaml")


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "speech", "7", "null"])
def test_a_file_without_keys_is_refused(write, text):
    with pytest.raises(InputError, match="expected keys and values at the top"):
        load_config(write(text))


@pytest.mark.parametrize(
    "text", ["a: [1", "a: b: c", "\ta: 1", "a: *nowhere", "{[1]: 2}", "a: !!python/name:os.system x"]
)
def test_broken_yaml_is_refused_in_one_line(write, text):
    with pytest.raises(InputError, match="is not valid YAML") as refusal:
        load_config(write(text))
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("language: bokmål".encode("latin-1"))
    with pytest.raises(InputError, match="is not valid YAML"):
        load_config(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("seed: 0\noutput: 2026-13-40\n", id="a date that does not exist"),
        pytest.param(f"train:\n  epochs: 1{'0' * 400}\n", id="a whole number too large for a float"),
        pytest.param(f"seed: 1{'0' * 5000}\n", id="a whole number too long for Python to read"),
        pytest.param(f"language: {'[' * 5000}\n", id="brackets without end"),
    ],
)
def test_yaml_that_python_itself_stumbles_over_is_refused_like_any_other(write, text):
    with pytest.raises(InputError):
        load_config(write(text + yaml.safe_dump({k: v for k, v in SMALLEST.items() if k not in text})))


# Overrides


@pytest.mark.parametrize(
    ("override", "value_of", "value"),
    [
        ("language=de", lambda c: c.language, "de"),
        ("language='no'", lambda c: c.language, "no"),
        ("seed=7", lambda c: c.seed, 7),
        ("revision=null", lambda c: c.revision, None),
        ("revision=main", lambda c: c.revision, "main"),
        ("train.learning_rate=3e-4", lambda c: c.train.learning_rate, 3e-4),
        ("train.lora.rank=8", lambda c: c.train.lora.rank, 8),
        ("train.lora.targets=[q_proj, v_proj]", lambda c: c.train.lora.targets, ("q_proj", "v_proj")),
        ("train.spec_augment={}", lambda c: c.train.spec_augment, SpecAugment()),
        ("train.spec_augment.time_masks=4", lambda c: c.train.spec_augment, SpecAugment(time_masks=4)),
        ("data.train.0.folder=elsewhere", lambda c: c.data.train[0].folder, "elsewhere"),
        ("data.train.0.text=null", lambda c: c.data.train[0].text, None),
        ("data.train.0={hub: a/b}", lambda c: c.data.train[0].hub, "a/b"),
        ("distill.layers=[0, 3, 5]", lambda c: c.distill.layers, (0, 3, 5)),
        ("distill.max_label_error=0.5", lambda c: c.distill.max_label_error, 0.5),
        ("output=a=b", lambda c: c.output, "a=b"),
    ],
)
def test_any_key_can_be_overridden(smallest, override, value_of, value):
    assert value_of(load_config(smallest, [override])) == value


def test_the_last_override_of_a_key_holds(smallest):
    assert load_config(smallest, ["seed=1", "seed=2"]).seed == 2


def test_an_override_can_switch_off_what_the_file_switches_on(write):
    path = write(changed("train.spec_augment", {"time_masks": 4}))
    assert load_config(path).train.spec_augment == SpecAugment(time_masks=4)
    assert load_config(path, ["train.spec_augment=null"]).train.spec_augment is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rat=1", r"^train\.learning_rat: unknown key; the nearest known one is train\.learning_rate\."),
        ("nothing.at.all=1", r"^nothing: unknown key"),
        (
            "train.learning_rate=fast",
            r"^train\.learning_rate: expected a number",
        ),
        ("train.learning_rate=", r"^train\.learning_rate: expected a number"),
        ("data.train.1.folder=x", r"^data\.train\.1: expected an index from 0 to 0"),
        ("data.train.first.folder=x", r"^data\.train\.first: expected an index"),
        ("data.train.-1=x", r"^data\.train\.-1: expected an index"),
        ("language.code=nl", r"language"),
        ("language.code.short=nl", r"language"),
        ("train.learning_rate", r"expected an override of the form key\.sub=value"),
        ("=3", r"expected an override of the form key\.sub=value"),
        ("seed=[1", r"^seed: '\[1' is not a YAML value"),
        ("language=no", r"^language: .*Norwegian"),
    ],
)
def test_a_wrong_override_is_refused_by_its_full_path(smallest, override, message):
    with pytest.raises(InputError, match=message):
        load_config(smallest, [override])


# Anything at all

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


def test_a_tilde_in_a_path_is_the_home_folder(write_config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    config = load_config(write_config(tmp_path / "pair.yaml"), ["output=~/out", "data.cache=~/cache"])
    assert (config.output, config.data.cache) == (str(tmp_path / "me" / "out"), str(tmp_path / "me" / "cache"))
    assert load_config(write_config(tmp_path / "pair.yaml"), ["output=~/out"]).data.cache == f"{config.output}/data"
