"""What may be paired with what, and the refusals in one sentence."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import WhisperForConditionalGeneration

from distill.student import build_student, chosen_layers
from whisper_pair.checkpoints.capabilities import Capabilities, ShortWindows
from whisper_pair.checkpoints.identity import check_pair, encoder_sha256, vocabulary_sha256
from whisper_pair.checkpoints.load import load_draft, load_main, load_processor, standalone_assistant
from whisper_pair.checkpoints.locate import checkpoint_folder
from whisper_pair.checkpoints.manifest import PairManifest
from whisper_pair.errors import InputError


@pytest.fixture(scope="module")
def pair(demo_data, tmp_path_factory) -> tuple[Path, Path]:
    """A main and an assistant that was cut from it, untrained."""
    main = demo_data / "micro-whisper"
    assistant = tmp_path_factory.mktemp("pair") / "assistant"
    model = load_main(main, torch.float32)
    build_student(model, (0, 7)).save_pretrained(assistant)
    processor = load_processor(main)
    processor.save_pretrained(assistant)
    hashes = encoder_sha256(main), vocabulary_sha256(processor.tokenizer)
    PairManifest(str(main), *hashes, (0, 7), "nl", "transcribe").save(assistant)
    return main, assistant


def changed(folder: Path, to: Path, change) -> Path:
    shutil.copytree(folder, to)
    model = WhisperForConditionalGeneration.from_pretrained(to)
    change(model)
    model.save_pretrained(to)
    return to


def test_a_pair_is_accepted_by_its_lineage(pair):
    pair_manifest = check_pair(*pair)
    assert pair_manifest.layers == (0, 7)
    assert pair_manifest.language == "nl"


def test_other_windows_than_the_mains_are_warned_of(pair, tmp_path, caplog):
    main = shutil.copytree(pair[0], tmp_path / "main")
    trained = ShortWindows(0.8, 0.3, 2.0, 0.5)
    Capabilities(0.5, 0.0, ("transcribe",), ("nl",), trained).save(main)
    check_pair(main, pair[1])
    assert "pair.json: was distilled on windows of full length, and" in caplog.text
    assert "has its main decode windows that end 0.5 s after their speech" in caplog.text
    caplog.clear()
    assistant = shutil.copytree(pair[1], tmp_path / "assistant")
    replace(PairManifest.load(assistant), short_windows=replace(trained, share=0.5)).save(assistant)
    check_pair(main, assistant)
    assert not caplog.text


def test_building_an_assistant_leaves_the_mains_config_alone(demo_data):
    main = load_main(demo_data / "micro-whisper", torch.float32)
    before = copy.deepcopy(main.config.to_dict())
    build_student(main, (0,))
    assert main.config.to_dict() == before


def test_an_assistant_over_another_encoder_is_refused(pair, tmp_path):
    def nudge(model):
        with torch.no_grad():
            model.model.encoder.layers[0].fc1.weight[0, 0] += 1e-3

    other = changed(pair[0], tmp_path / "other", nudge)
    with pytest.raises(InputError, match="another encoder"):
        check_pair(other, pair[1])


def test_an_assistant_of_another_vocabulary_size_is_refused(pair, tmp_path):
    other = shutil.copytree(pair[1], tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"vocab_size": 51866}))
    with pytest.raises(InputError, match=r"has 51866 tokens where the main .* has \d+"):
        check_pair(pair[0], other)


def test_a_foreign_decoder_of_another_width_is_refused(pair, tmp_path):
    other = shutil.copytree(pair[1], tmp_path / "other")
    (other / "pair.json").unlink()
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"d_model": 64}))
    with pytest.raises(InputError, match="width 64"):
        check_pair(pair[0], other)


def test_a_complete_whisper_may_assist_without_lineage(pair):
    assert check_pair(pair[0], pair[0]) is None


def test_a_pair_json_that_is_none_is_refused(pair, tmp_path):
    other = shutil.copytree(pair[1], tmp_path / "other")
    for content in ("{", "[]", '{"main": "x"}', '{"layers": 3}'):
        (other / "pair.json").write_text(content)
        with pytest.raises(InputError, match="distil the assistant again"):
            check_pair(pair[0], other)


def test_a_decoder_alone_is_never_loaded_as_a_main(pair):
    with pytest.raises(InputError, match="decoder alone"):
        load_main(pair[1], torch.float32)


def test_weights_that_can_run_code_are_not_read(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="safetensors"):
        checkpoint_folder(str(tmp_path))


@pytest.mark.parametrize("name", ["./nowhere", "nowhere", "a/b/c"])
def test_a_checkpoint_that_is_nowhere_is_named(name):
    with pytest.raises(InputError, match="no such folder"):
        checkpoint_folder(name)


def test_the_encoders_hash_is_of_tensors_not_of_files(pair, tmp_path):
    model = load_main(pair[0], torch.float32)
    model.save_pretrained(tmp_path, max_shard_size="1MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert encoder_sha256(tmp_path) == encoder_sha256(pair[0])


def test_an_assistant_with_its_mains_encoder_is_a_whisper_of_its_own(pair):
    main, draft = load_main(pair[0], torch.float32), load_draft(pair[1], torch.float32)
    whole = standalone_assistant(main, draft)
    assert whole.model.encoder is main.model.encoder
    features = torch.randn(1, main.config.num_mel_bins, 2 * main.config.max_source_positions)
    states = main.model.encoder(features)
    ids = torch.tensor([[1, 2, 3]])
    wanted = draft(input_ids=ids, encoder_outputs=(states.last_hidden_state,)).logits
    assert torch.equal(whole(input_features=features, decoder_input_ids=ids).logits, wanted)
    assert standalone_assistant(main, main) is main


@pytest.mark.parametrize(
    ("wanted", "available", "layers"),
    [(1, 8, (0,)), (2, 32, (0, 31)), (3, 32, (0, 16, 31)), (4, 4, (0, 1, 2, 3)), ((0, 5), 6, (0, 5))],
)
def test_layers_are_evenly_spaced_with_first_and_last_in(wanted, available, layers):
    assert chosen_layers(wanted, available) == layers


@pytest.mark.parametrize("wanted", [9, (0, 8)])
def test_layers_that_the_main_lacks_are_refused(wanted):
    with pytest.raises(InputError, match=r"distill\.layers"):
        chosen_layers(wanted, 8)
