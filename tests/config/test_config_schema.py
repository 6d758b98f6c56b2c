"""The schema: whatever a user writes gives a Config or one clear sentence that names the key's full path."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.config.smallest_config import SMALLEST, SPLITS, changed
from whisper_pair.config.hints import SYNONYMS, paths
from whisper_pair.config.load import load_config
from whisper_pair.config.schema import Config, Lora, SpecAugment
from whisper_pair.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize("key", ["model", "output", "data.cache", "data.train.0.folder"])
def test_a_name_that_no_file_can_have_is_refused(smallest, key):
    load_config(smallest, [f"{key}=some/{'a' * 255}"])
    with pytest.raises(InputError, match=rf"^{re.escape(key)}: there is no such folder or file as 'some/aaa"):
        load_config(smallest, [f"{key}=some/{'a' * 256}"])


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
        ("data.train.0.path", "data.train.0.corpus"),
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
    with pytest.raises(
        InputError, match=r"^data\.validation\.0: expected exactly one of corpus, folder, hub,"
    ) as refusal:
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
def test_a_key_that_its_source_cannot_use_is_refused(write, source, key):
    with pytest.raises(InputError, match=rf"^data\.train\.0\.{key}: expected it only beside"):
        load_config(write(changed("data.train.0", source)))


def test_the_survey_of_the_audio_is_in_the_run_unless_a_folder_is_named(smallest):
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


def test_a_checkpoint_can_be_the_main_unchanged(write):
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
def test_encoder_states_are_cached_only_where_they_never_change(smallest, override):
    assert load_config(smallest, ["train.cache_encoder=true"]).train.cache_encoder
    with pytest.raises(InputError, match=r"^train\.cache_encoder: expected false"):
        load_config(smallest, ["train.cache_encoder=true", override])


def test_distillation_needs_a_loss(smallest):
    with pytest.raises(InputError, match=r"^distill\.losses: expected a weight above 0"):
        load_config(smallest, ["distill.losses.kl=0", "distill.losses.cross_entropy=0"])
    assert load_config(smallest, ["distill.losses.kl=0"]).distill.losses.cross_entropy == 1.0


def test_norwegian_without_quotes_is_refused_with_that_reason(write):
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
